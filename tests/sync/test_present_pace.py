"""The present pace of an app: what its workers learned and send now, and nothing where nobody knows."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pytest_django import Settings
from redis import Redis

from syncsvc.management.embedded import free_port
from syncsvc.models import App
from syncsvc.sync.present_pace import TRUE_SECONDS, PaceTeller, PresentPace, present_pace
from syncsvc.sync.watch import WATCHER
from syncsvc.sync.window import WINDOWS
from tests.receiver import OK, Reply
from tests.sync.world import World


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeRun:
    requests: int = 0
    requests_told: int = 0
    app: App | None = field(default_factory=lambda: App(max_in_flight=16))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run() -> Iterator[FakeRun]:
    run = FakeRun()
    yield run
    assert run.app is not None
    while WINDOWS.width(str(run.app.id), limit=16) < 16:  # what was learned is forgotten for other tests
        round = WINDOWS.take(str(run.app.id), limit=16)
        assert round is not None
        WINDOWS.acknowledged(str(run.app.id), round, limit=16)
        WINDOWS.give_back(str(run.app.id))


def pace(run: FakeRun) -> PresentPace | None:
    assert run.app is not None
    return present_pace(run.app.id)


def test_the_rate_is_that_of_the_last_seconds(run: FakeRun, clock: Clock) -> None:
    teller = PaceTeller(clock=clock)
    assert pace(run) is None
    for _ in range(10):
        teller.tell([run])
        clock.now += 1
        run.requests += 96
    teller.tell([run])
    assert pace(run) == PresentPace(at_once=16, per_second=96.0, workers=1)
    for _ in range(3):
        clock.now += 1
        teller.tell([run])
    assert pace(run) == PresentPace(at_once=16, per_second=38.4, workers=1)


def test_workers_and_runs_are_added_up_and_what_was_learned_is_shown(run: FakeRun, clock: Clock) -> None:
    assert run.app is not None
    other, elsewhere = FakeRun(app=run.app), FakeRun()
    one, two = (PaceTeller(worker=name, clock=clock) for name in ("one", "two"))
    for teller, runs in ((one, [run, other, elsewhere]), (two, [FakeRun(app=run.app)])):
        teller.tell(runs)
        clock.now += 1
        for made in runs:
            made.requests += 10
        teller.tell(runs)
    assert pace(run) == PresentPace(at_once=32, per_second=30.0, workers=2)
    round = WINDOWS.take(str(run.app.id), limit=16)
    assert round is not None
    WINDOWS.refused(str(run.app.id), round, limit=16)
    WINDOWS.give_back(str(run.app.id))
    one.tell([run, other])
    told = pace(run)
    assert told is not None
    assert told.at_once == 8 + 16


def test_what_a_worker_told_long_ago_is_not_true_any_more(run: FakeRun, settings: Settings) -> None:
    assert run.app is not None
    PaceTeller(worker="alive").tell([run])
    with Redis.from_url(settings.REDIS_URL) as redis:
        seconds, _ = redis.time()
        redis.hset(f"pace:{run.app.id}", "dead", f"{seconds - TRUE_SECONDS - 1}:16:500.0")
        assert pace(run) == PresentPace(at_once=16, per_second=0.0, workers=1)
        assert 0 < redis.ttl(f"pace:{run.app.id}") <= TRUE_SECONDS


def test_nothing_is_told_of_what_was_not_looked_at_yet_or_does_not_run(clock: Clock) -> None:
    PaceTeller(clock=clock).tell([FakeRun(app=None)])
    PaceTeller(clock=clock).tell([])
    assert present_pace(uuid.uuid4()) is None


def test_without_redis_nobody_knows_and_it_is_not_asked_again_at_once(
    run: FakeRun, clock: Clock, settings: Settings
) -> None:
    here, teller = settings.REDIS_URL, PaceTeller(clock=clock)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    teller.tell([run])
    assert pace(run) is None
    settings.REDIS_URL = here
    clock.now += 1
    teller.tell([run])
    assert pace(run) is None
    clock.now += 10
    teller.tell([run])
    assert pace(run) is not None


def test_a_run_that_goes_on_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.02)
    world.repo.commit({f"{n:02}": b"1" for n in range(40)})
    App.objects.update(max_in_flight=3)
    seen: list[PresentPace] = []
    told = threading.Event()

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        deadline = time.monotonic() + 5
        while not told.is_set() and time.monotonic() < deadline:
            if (known := present_pace(world.app.id)) and known.per_second > 0:
                seen.append(known)
                told.set()
            if len(world.receiver.requests) < 20:
                break
            time.sleep(0.02)
        return OK

    world.receiver.answer = answer
    assert world.run().outcome == "synced"
    assert seen
    assert seen[0].at_once == 3
