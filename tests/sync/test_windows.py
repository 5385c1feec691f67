"""A window learns from refusals, by the round; whatever happens, no place is lost and none is taken twice."""

import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from syncsvc.sync.window import Windows

LIMIT = 16


def out(windows: Windows, count: int, *, limit: int = LIMIT) -> list[int]:
    """The rounds of so many requests that go out."""
    rounds = [windows.take("a", limit=limit) for _ in range(count)]
    assert None not in rounds
    return rounds  # type: ignore[return-value]


def acknowledge(windows: Windows, count: int, *, limit: int = LIMIT) -> None:
    """So many requests, one after the other."""
    for _ in range(count):
        (round,) = out(windows, 1, limit=limit)
        windows.acknowledged("a", round, limit=limit)
        windows.give_back("a")


def refuse(windows: Windows, *, limit: int = LIMIT) -> None:
    (round,) = out(windows, 1, limit=limit)
    windows.refused("a", round, limit=limit)
    windows.give_back("a")


def test_refusals_of_a_round_halve_the_window_once() -> None:
    windows = Windows()
    rounds = out(windows, 16)

    assert [windows.refused("a", round, limit=LIMIT) for round in rounds] == [True, *[False] * 15]
    assert windows.width("a", limit=LIMIT) == 8


def test_it_is_never_narrower_than_one_and_grows_back_by_one_a_window() -> None:
    windows = Windows()
    for _ in range(6):
        refuse(windows)
    assert windows.width("a", limit=LIMIT) == 1
    widths = []
    for width in range(1, 17):
        acknowledge(windows, width)
        widths.append(windows.width("a", limit=LIMIT))
    assert widths == [*range(2, 17), 16]


def test_acknowledgements_of_an_earlier_round_do_not_widen_it() -> None:
    windows = Windows()
    first, *others = out(windows, 16)
    windows.refused("a", first, limit=LIMIT)
    for round in others:
        windows.acknowledged("a", round, limit=LIMIT)

    assert windows.width("a", limit=LIMIT) == 8


def test_a_narrow_window_is_kept_and_a_wide_one_forgotten() -> None:
    windows = Windows()
    refuse(windows)
    assert windows.width("a", limit=LIMIT) == 8
    assert windows.width("b", limit=LIMIT) == 16
    windows.take("b", limit=LIMIT)
    windows.give_back("b")
    assert windows.width("b", limit=4) == 4


def test_another_limit_counts_at_once() -> None:
    windows = Windows()
    out(windows, 2, limit=2)
    assert windows.take("a", limit=2) is None
    assert windows.take("a", limit=3) == 0
    assert windows.take("a", limit=1) is None


def test_who_waits_for_a_place_hears_of_one_of_its_own_app_only() -> None:
    windows = Windows()
    windows.take("a", limit=1)
    windows.take("b", limit=1)
    got, waits = threading.Event(), threading.Event()

    def wait() -> None:
        waits.set()
        windows.wait("a", 20, limit=1)
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait(5)
    windows.give_back("b")
    assert not got.wait(0.1)
    windows.give_back("a")
    assert got.wait(5)
    thread.join()
    windows.wait("a", 20, limit=1)  # there is room: at once


class Windowing(RuleBasedStateMachine):
    """Two apps' requests against the plainest model: a list of those that are out, and a width."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = Windows()
        self.out: dict[str, list[int]] = {"a": [], "b": []}
        self.width = {"a": LIMIT, "b": LIMIT}
        self.counted = {"a": 0, "b": 0}

    apps = st.sampled_from(["a", "b"])

    @rule(app=apps, count=st.integers(1, 20))
    def send(self, app: str, count: int) -> None:
        for _ in range(count):
            round = self.windows.take(app, limit=LIMIT)
            assert (round is None) == (len(self.out[app]) >= self.width[app])
            if round is not None:
                self.out[app].append(round)

    @rule(app=apps, choice=st.integers(0, 50), acknowledged=st.booleans())
    def answer(self, app: str, choice: int, acknowledged: bool) -> None:
        if not self.out[app]:
            return
        round = self.out[app].pop(choice % len(self.out[app]))
        if acknowledged:
            self.windows.acknowledged(app, round, limit=LIMIT)
            self._count(app, round)
        elif self.windows.refused(app, round, limit=LIMIT):
            self.width[app], self.counted[app] = max(1, self.width[app] // 2), 0
        self.windows.give_back(app)

    def _count(self, app: str, round: int) -> None:
        if self.width[app] == LIMIT or any(round < other for other in self.out[app]):
            # An earlier round than one that is out; whether it is the present one is the window's to know.
            self.width[app] = self.windows.width(app, limit=LIMIT)
            return
        before, after = self.width[app], self.windows.width(app, limit=LIMIT)
        assert after in {before, before + 1}
        self.width[app] = after

    @rule(app=apps)
    def all_end_without_an_answer(self, app: str) -> None:
        if self.out[app]:
            self.windows.give_back(app, len(self.out[app]))
        self.out[app] = []

    @invariant()
    def widths_are_sound(self) -> None:
        for app in "ab":
            assert self.windows.width(app, limit=LIMIT) == self.width[app]
            assert 1 <= self.width[app] <= LIMIT


def test_no_place_is_lost_and_none_is_taken_twice() -> None:
    run_state_machine_as_test(Windowing, settings=settings(max_examples=100, deadline=None))


def test_threads_share_a_window_and_leave_it_empty() -> None:
    windows = Windows()
    most, now, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal most, now
        for turn in range(300):
            round = windows.take("a", limit=4)
            if round is None:
                windows.wait("a", 0.01, limit=4)
                continue
            with lock:
                now += 1
                most = max(most, now)
            if (turn + number) % 50 == 0:
                windows.refused("a", round, limit=4)
            else:
                windows.acknowledged("a", round, limit=4)
            with lock:
                now -= 1
            windows.give_back("a")

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most <= 4
    assert windows.take("a", limit=1) is not None, "every place was given back"
