"""Rooms of slots, with a clock of their own: whatever is slow, what is prompt finds a slot."""

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from syncsvc.sync.rooms import Admission, Rooms, Shares
from syncsvc.sync.turn import Turn, TurnPolicy, Work

SIZE = 16
STEP = 0.25  # seconds between two looks of the overseer


@dataclass(eq=False)
class Run:
    """`asks` and `sends` are how long the remote and the app take, in seconds."""

    name: str
    app: uuid.UUID = field(default_factory=uuid.uuid4)
    repository: uuid.UUID = field(default_factory=uuid.uuid4)
    host: str = ""
    asks: float = 0.02
    sends: float = 0.1
    is_doubtful: bool = False
    turn: Turn | None = None
    ended_at: float | None = None

    @property
    def work(self) -> Work:
        return Work(self.app, self.repository, self.host, is_doubtful=self.is_doubtful)


class Worker:
    """A worker process without threads, Redis and database.

    A message is taken while a slot is free for it. What finds no place is left, and taken by whoever gets free next;
    of what is left, what would find no place is passed over.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.rooms = Rooms(clock=lambda: self.now)
        self.messages: deque[Run] = deque()
        self.left: list[Run] = []
        self.at_work: list[Run] = []
        self.ended: list[Run] = []
        self.apart = 0
        self.rooms.when_long_changes(self._set_apart)

    def _set_apart(self, count: int) -> None:
        self.apart = count

    def ask(self, *runs: Run) -> None:
        self.messages.extend(runs)
        self._take()

    def go_on(self, seconds: float) -> Iterator[float]:
        """Step by step."""
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + STEP, 6)
            self._end()
            for _ in self.rooms.move_long_ones():
                self._take_left()
            self._take()
            yield self.now

    def until(self, over: Callable[[], bool], *, seconds: float = 600) -> float:
        """The time at which it is so."""
        if not over():
            for _ in self.go_on(seconds):
                if over():
                    break
        assert over(), f"not within {seconds} s"
        return self.now

    def prompt_in_short(self) -> int:
        return sum(1 for run in self.at_work if run.turn and not run.turn.is_long and _is_prompt(run))

    def waiting(self) -> list[Run]:
        return [*self.messages, *self.left]

    def _take(self) -> None:
        while self.messages and len(self.at_work) - self.apart < SIZE:
            self._begin(self.messages.popleft())

    def _take_left(self) -> None:
        shut_out = self.rooms.shut_out()
        for run in list(self.left):
            if run.app in shut_out.apps or run.host in shut_out.hosts:
                continue
            slow = run.is_doubtful or run.app in shut_out.slow_apps or run.repository in shut_out.slow_repositories
            if not (slow and shut_out.doubtful):
                self.left.remove(run)
                self._begin(run)
                return

    def _begin(self, run: Run) -> None:
        run.turn = Turn(run.work, clock=lambda: self.now)
        admission = self.rooms.enter(run.turn)
        others = any(other.app != run.app and other.host != run.host for other in self.waiting())
        if admission is Admission.YES or (admission is Admission.SPARE and not others):
            self.at_work.append(run)
            return
        self.rooms.leave(run.turn)
        self.left.append(run)

    def _end(self) -> None:
        for run in list(self.at_work):
            assert run.turn is not None
            age = self.now - run.turn.began
            if run.turn.asks_remote and age >= run.asks:
                run.turn.reached()
                run.turn.sends(uuid.uuid4(), "", 0.0)
            if age >= run.asks + run.sends:
                run.ended_at = self.now
                self.rooms.leave(run.turn)
                self.at_work.remove(run)
                self.ended.append(run)
                self._take_left()


def _is_prompt(run: Run) -> bool:
    return run.name == "prompt"


def slow(count: int, *, each: int = 1, seconds: float = 13) -> list[Run]:
    """Runs of apps whose endpoints take their time: an app with so many repositories."""
    apps = [uuid.uuid4() for _ in range(count)]
    return [Run("slow", app=app, sends=seconds) for _ in range(each) for app in apps]


def silent(count: int, *, hosts: int = 0) -> list[Run]:
    """Runs whose remotes accept a connection and say nothing; nobody has ever reached them."""
    return [
        Run("silent", host=f"host-{n % (hosts or count)}", asks=30, sends=0, is_doubtful=True) for n in range(count)
    ]


def prompt() -> Run:
    return Run("prompt", host="healthy")


@pytest.fixture
def worker(settings: Settings) -> Worker:
    settings.WORKER_THREADS = SIZE
    return Worker()


def slow_ends(worker: Worker) -> int:
    return sum(1 for run in worker.ended if not _is_prompt(run))


def test_a_push_waits_for_none_of_twelve_slow_apps_with_three_repositories_each(worker: Worker) -> None:
    """Measured without rooms: 42 s."""
    worker.ask(*slow(12, each=3))
    push = prompt()
    worker.ask(push)

    worker.until(lambda: push.ended_at is not None)

    assert slow_ends(worker) == 0


def test_a_push_waits_for_none_of_sixty_silent_remotes(worker: Worker) -> None:
    """Measured without rooms: 30, 57, 93 s."""
    worker.ask(*silent(60))
    for _ in range(3):
        push, asked_at = prompt(), worker.now
        worker.ask(push)
        assert worker.until(lambda push=push: push.ended_at is not None) <= asked_at + STEP  # type: ignore[misc]
        for _ in worker.go_on(20):
            pass


@pytest.mark.parametrize("kind", [slow, silent])
def test_what_is_slow_gets_through_as_well(worker: Worker, kind: Callable[[int], list[Run]]) -> None:
    runs = kind(60)
    worker.ask(*runs)

    worker.until(lambda: all(run.ended_at is not None for run in runs), seconds=300)


def test_one_app_alone_has_as_many_runs_at_once_as_it_had_without_a_long_room(worker: Worker) -> None:
    worker.ask(*slow(1, each=40, seconds=100))
    for _ in worker.go_on(5):
        pass

    assert len(worker.at_work) >= SIZE - SIZE // 4


def test_a_slow_app_that_is_prompt_again_begins_in_the_short_room(worker: Worker) -> None:
    app = uuid.uuid4()
    for sends, is_long in ((5, False), (0.1, True), (0.1, False)):
        run = Run("any", app=app, sends=sends)
        worker.ask(run)
        assert run.turn is not None
        assert run.turn.is_long is is_long
        worker.until(lambda run=run: run.ended_at is not None)  # type: ignore[misc]


def test_a_run_that_was_turned_away_teaches_nothing_about_its_app(worker: Worker) -> None:
    (first, *rest) = slow(1, each=20, seconds=50)
    worker.ask(first)
    for _ in worker.go_on(2):
        pass
    worker.ask(*rest)

    assert first.app in worker.rooms.shut_out().slow_apps


def test_runs_that_wait_for_one_host_have_a_quarter_of_the_long_room_and_half_of_it_is_left_to_endpoints(
    worker: Worker,
) -> None:
    worker.ask(*silent(40, hosts=1))
    assert sum(1 for run in worker.at_work if run.turn and run.turn.is_long) == SIZE // 4

    worker.ask(*silent(40))
    assert sum(1 for run in worker.at_work if run.turn and run.turn.is_long) == SIZE // 2


def test_a_slot_of_bulk_work_is_not_long_while_it_only_claims_and_comes_back_to_the_short_room(worker: Worker) -> None:
    turn = Turn(Work(in_bulk=True), clock=lambda: worker.now)
    assert worker.rooms.enter_bulk(turn)
    worker.now = 10
    assert worker.rooms.move_long_ones() == []

    turn.takes(Work(uuid.uuid4(), uuid.uuid4(), in_bulk=True))
    worker.now = 12
    assert worker.rooms.move_long_ones() == [turn]
    assert worker.apart == 1

    assert worker.rooms.come_back(turn)
    assert (turn.is_long, worker.apart) == (False, 0)


def test_bulk_runs_have_half_of_either_room(worker: Worker) -> None:
    def enter() -> list[Turn]:
        turns = []
        while worker.rooms.enter_bulk(turn := Turn(Work(in_bulk=True), clock=lambda: worker.now)):
            turn.takes(Work(uuid.uuid4(), uuid.uuid4(), in_bulk=True))
            turn.reached()
            turns.append(turn)
        return turns

    first = enter()
    assert len(first) == SIZE // 2
    worker.now = 2
    assert len(worker.rooms.move_long_ones()) == SIZE // 2
    second = enter()
    worker.now = 4
    assert worker.rooms.move_long_ones() == []
    assert len(second) == SIZE // 2
    assert worker.rooms.bulk_is_blocked


def test_doubtful_and_bulk_runs_together_leave_slots_to_what_is_prompt(worker: Worker) -> None:
    worker.ask(*[Run("slow", sends=50, is_doubtful=True) for _ in range(60)])
    for _ in worker.go_on(3):
        pass
    while worker.rooms.enter_bulk(Turn(Work(in_bulk=True), clock=lambda: worker.now)):
        pass

    pushes = [prompt() for _ in range(SIZE // 4)]
    for push in pushes:
        push.host = ""
    worker.ask(*pushes)

    assert [push.turn is not None and push in worker.at_work for push in pushes] == [True] * len(pushes)


@pytest.mark.parametrize(
    ("size", "quarter", "half", "most", "doubtful", "not_prompt"),
    [
        (1, 1, 1, 1, 0, 1),
        (2, 1, 1, 2, 1, 1),
        (3, 1, 1, 3, 1, 2),
        (4, 1, 2, 3, 2, 3),
        (8, 2, 4, 6, 4, 6),
        (16, 4, 8, 12, 8, 12),
    ],
)
def test_shares(size: int, quarter: int, half: int, most: int, doubtful: int, not_prompt: int) -> None:
    shares = Shares(size)

    found = (shares.quarter, shares.half, shares.most, shares.doubtful, shares.not_prompt)
    assert found == (quarter, half, most, doubtful, not_prompt)


@pytest.mark.parametrize(
    ("age", "planned_in", "may_end"),
    [(29, 0, False), (30, 0, True), (30, 3, True), (31, 4, False), (40, 4, True), (999, 100, False), (1000, 100, True)],
)
def test_a_turn_may_end_after_thirty_seconds_or_ten_times_its_planning(
    age: float, planned_in: float, may_end: bool
) -> None:
    assert TurnPolicy().may_end(age, planned_in) is may_end


APPS = [uuid.UUID(int=n) for n in range(1, 9)]
ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(["slow", "silent", "prompt", "prompt", "wait"]),
        st.integers(0, 7),
        st.floats(2, 40),
        st.integers(1, 6),
    ),
    max_size=60,
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(ARRIVALS)
def test_what_is_prompt_waits_only_for_what_is_prompt(arrivals: list[tuple[str, int, float, int]]) -> None:
    """Random arrivals of work that is known to be slow, of silent remotes, and of prompt work."""
    shares = Shares(SIZE)
    worker = Worker()
    for kind, which, seconds, count in arrivals:
        if kind == "slow":
            worker.ask(*[Run(kind, app=APPS[which], sends=seconds, is_doubtful=True) for _ in range(count)])
        elif kind == "silent":
            worker.ask(*[Run(kind, host=f"h{which}", asks=seconds, sends=0, is_doubtful=True) for _ in range(count)])
        elif kind == "prompt":
            worker.ask(*[Run(kind) for _ in range(count)])
        steps = worker.go_on(seconds if kind == "wait" else STEP)
        for _ in steps:
            _keep_the_rules(worker, shares)
    worker.until(lambda: not worker.at_work and not worker.waiting(), seconds=20_000)


def _keep_the_rules(worker: Worker, shares: Shares) -> None:
    turns = [run.turn for run in worker.at_work if run.turn is not None]
    short, long = [t for t in turns if not t.is_long], [t for t in turns if t.is_long]
    asking = [turn.work.host for turn in long if turn.asks_remote]
    assert len(short) <= shares.size
    assert len(long) == worker.apart <= shares.size
    assert len(asking) <= shares.half
    assert all(asking.count(host) <= shares.quarter for host in asking if host)
    apps = [turn.work.app_id for turn in long]
    assert all(apps.count(app) <= shares.quarter for app in apps)
    if any(_is_prompt(run) for run in worker.waiting()):
        assert worker.prompt_in_short() >= shares.size - shares.not_prompt
