"""An endpoint that asks for fewer requests (429, 503) costs time only: nothing failed, and the wait is the app's."""

import threading
import time
import uuid
from base64 import b64decode
from collections.abc import Mapping
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import App, Status, Subscription, SyncRun, Trigger
from syncsvc.store import circuits
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.scheduler import wake_due_subscriptions
from syncsvc.sync.window import WINDOWS
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.receiver import OK, Reply, accept
from tests.sync.answers import always, files_of, in_turn, refuses
from tests.sync.world import World, contents

LONG = {"Retry-After": "600"}


class Limit:
    """Takes so many requests and refuses the rest, until `reset` or, where `seconds` is given, for that time."""

    def __init__(
        self, requests: int, *, status: int = 429, headers: Mapping[str, str] = LONG, seconds: float = 0.0
    ) -> None:
        self.requests, self._status, self._headers, self._seconds = requests, status, headers, seconds
        self._left, self._until = requests, 0.0
        self._lock = threading.Lock()
        self.refused = 0

    def reset(self) -> None:
        self._left = self.requests

    def __call__(self, headers: dict[str, str], body: bytes) -> Reply:
        with self._lock:
            if self._seconds and time.monotonic() >= self._until:
                self._until = time.monotonic() + self._seconds
                self.reset()
            if self._left:
                self._left -= 1
                return OK
            self.refused += 1
            return self._status, self._headers, b"", 0.0


def app() -> App:
    return App.objects.get()


def others(world: World, count: int) -> list[uuid.UUID]:
    """More repositories that the same app follows; all have the same remote."""
    return [
        SubscriptionFactory(app=world.app, repository=RepositoryFactory(url=str(world.repo.path))).id
        for _ in range(count)
    ]


def at_once(ids: list[uuid.UUID]) -> list[SyncRun | None]:
    """Each is run by a worker of its own, all at once."""
    ended: list[SyncRun | None] = []
    start = threading.Barrier(len(ids))

    def work(id: uuid.UUID) -> None:
        start.wait(20)
        ended.append(run_subscription(id, worker="test"))
        connection.close()

    threads = [threading.Thread(target=work, args=[id]) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return ended


# The ordinary limit


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {}], ids=["with a time", "without"])
def test_a_limit_is_waited_out_within_the_run(world: World, settings: Settings, headers: dict[str, str]) -> None:
    settings.THROTTLE_WAIT_SECONDS, settings.RETRY_AFTER_MAX_SECONDS, settings.THROTTLE_MOST_SECONDS = 5, 0.05, 0.05
    world.repo.commit({f"{n:03}": b"%d" % n for n in range(300)})
    world.receiver.answer = limit = Limit(60, headers=headers, seconds=0.05)

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("synced", 300, 0)
    assert run.requests == 300 + limit.refused
    assert limit.refused < 100
    assert world.client().files == contents(world.repo)
    assert (app().throttled_until, app().throttled_since, app().throttle_step) == (None, None, 0)


def test_a_limit_with_long_waits_takes_a_run_a_wait_and_no_try(world: World) -> None:
    world.repo.commit({f"{n:03}": b"1" for n in range(100)})
    world.receiver.answer = limit = Limit(20)
    runs = [world.run()]
    while runs[-1].outcome == "postponed":
        assert world.subscription.is_throttled
        assert (world.subscription.retry_count, world.subscription.failing_since) == (0, None)
        limit.reset()
        again = world.run_when_due()
        assert again is not None
        runs.append(again)

    assert [run.error_kind for run in runs] == ["endpoint_throttled"] * 4 + [""]
    assert sum(run.delivered for run in runs) == 100
    assert sum(run.failed for run in runs) == 0
    assert limit.refused <= 4 * app().max_in_flight


def test_a_busy_moment_in_fifty_costs_a_request_each(world: World, settings: Settings) -> None:
    settings.THROTTLE_WAIT_SECONDS = 5
    settings.THROTTLE_FIRST_SECONDS = settings.THROTTLE_MOST_SECONDS = 0.01
    world.repo.commit({f"{n:03}": b"1" for n in range(400)})
    count = iter(range(10_000))
    world.receiver.answer = lambda _, body: (503, {}, b"", 0.0) if next(count) % 50 == 49 else OK

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("synced", 400, 0)
    assert 400 < run.requests <= 400 + 400 // 48
    assert app().circuit_opened_at is None


# The wait is the app's


def test_a_push_during_the_wait_sends_nothing_and_is_told_when_it_is_over(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()
    mine = Subscription.objects.filter(id=world.id)
    world.receiver.answer = accept
    world.repo.commit({"b": b"1"})

    for _ in range(5):
        ask_for_runs(mine, Trigger.PUSH)
        assert run_subscription(world.id, worker="test") is None
        assert wake_due_subscriptions() == 0
    assert len(world.receiver.requests) == 1
    row = world.subscription
    assert (row.status, row.retry_count, row.failing_since) == (Status.PENDING, 0, None)

    world.end_wait()
    assert wake_due_subscriptions() == 1, "the wake-up that came during the wait counts as lost"
    run = run_subscription(world.id, worker="test")

    assert run is not None
    assert (run.outcome, run.trigger, run.delivered) == ("synced", "push", 2)


# How long


def test_waits_without_a_time_double_and_begin_again_after_a_success(world: World, settings: Settings) -> None:
    settings.THROTTLE_FIRST_SECONDS, settings.THROTTLE_MOST_SECONDS, settings.THROTTLE_WAIT_SECONDS = 60, 200, 5
    App.objects.update(max_in_flight=4)
    world.repo.commit({f"{n}": b"1" for n in range(9)})
    world.receiver.answer = always(429)
    steps = []
    for _ in range(4):
        world.run_when_due()
        until, at = app().throttled_until, app().throttled_at
        assert until is not None
        assert at is not None
        steps.append(round((until - at).total_seconds()))
    world.receiver.answer = accept
    world.run_when_due()
    world.repo.commit({"new": b"1"})
    world.receiver.answer = always(429)
    world.run()

    assert steps == [60, 120, 200, 200]
    assert app().throttle_step == 60


def test_the_window_is_halved_once_a_round_and_kept_for_the_next_run(world: World) -> None:
    App.objects.update(max_in_flight=16)
    world.repo.commit({f"{n:02}": b"1" for n in range(16)})
    world.receiver.answer = always(429, LONG)
    key = str(world.app.id)

    world.run()

    assert WINDOWS.width(key, limit=16) == 8
    world.receiver.answer = accept
    assert world.run_when_due().outcome == "synced"  # type: ignore[union-attr]
    assert WINDOWS.width(key, limit=16) == 9, "a window of acknowledgements adds one"


def test_silence_for_half_a_minute_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits without end would hold the slot for ever."""
    monkeypatch.setattr("syncsvc.sync.throttle.SILENT_SECONDS", 0.3)
    monkeypatch.setattr("django.conf.settings.RETRY_AFTER_MAX_SECONDS", 0.05)
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, {"Retry-After": "1"})

    run = world.run()

    assert (run.outcome, run.error_kind) == ("postponed", "endpoint_throttled")
    assert 2 < run.requests < 30


def test_throttling_without_end_becomes_a_failure_of_all_that_wait(world: World) -> None:
    world.repo.commit({"a": b"1"})
    (other,) = others(world, 1)
    world.receiver.answer = always(429, LONG)
    world.run()
    App.objects.update(throttled_until=None, throttled_at=None, throttled_since=None)
    assert run_subscription(other, worker="test") is not None
    App.objects.update(throttled_since=F("throttled_since") - timedelta(hours=1))

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.error_kind) == ("failed", "endpoint_throttled")
    for row in Subscription.objects.all():
        assert (row.status, row.error_kind) == (Status.FAILED, "endpoint_throttled")
        assert row.due_at is not None
        assert row.failing_since is not None
    world.receiver.answer = accept
    assert world.run_when_due().outcome == "synced"  # type: ignore[union-attr]


def test_a_throttled_app_that_gets_on_does_not_fail(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n}": b"1" for n in range(9)})
    world.receiver.answer = always(429, LONG)
    world.run()
    App.objects.update(throttled_since=F("throttled_since") - timedelta(hours=3))
    world.receiver.answer = Limit(2)

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.delivered) == ("postponed", 2)
    since = app().throttled_since
    assert since is not None
    assert since > timezone.now() - timedelta(minutes=1)


def test_time_in_which_nobody_tried_is_no_silence_of_the_endpoint(world: World) -> None:
    """The app was paused for hours, say, when it had been throttled for ten minutes."""
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()
    hours = timedelta(hours=8)
    App.objects.update(
        throttled_until=F("throttled_until") - hours,
        throttled_at=F("throttled_at") - hours,
        throttled_since=F("throttled_since") - hours,
    )
    Subscription.objects.update(due_at=Now())

    run = run_subscription(world.id, worker="test")

    assert run is not None
    assert (run.outcome, world.subscription.status) == ("postponed", Status.PENDING)
    since = app().throttled_since
    assert since is not None
    assert timedelta(minutes=9) < timezone.now() - since < timedelta(minutes=12)


# Beside other troubles


def test_a_bad_file_on_a_limited_endpoint_fails_alone(world: World, settings: Settings) -> None:
    settings.THROTTLE_WAIT_SECONDS, settings.RETRY_AFTER_MAX_SECONDS = 5, 0.05
    world.repo.commit({f"{n:02}": b"1" for n in range(60)})
    limit, bad = Limit(10, seconds=0.05), refuses("07", status=500)

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        reply = limit(headers, body)
        return bad(headers, body) if reply is OK else reply  # type: ignore[return-value]

    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.delivered, run.failed, run.error_kind) == ("postponed", 59, 1, "endpoint_error")


def test_an_endpoint_that_is_busy_time_after_time_opens_the_circuit(world: World) -> None:
    """503 counts once a wait, whatever the number of requests that it is said to."""
    world.repo.commit({f"{n:02}": b"1" for n in range(60)})
    world.receiver.answer = always(503, LONG)
    runs = [world.run()]
    for _ in range(3):
        runs.append(world.run_when_due())  # type: ignore[arg-type]
        assert app().circuit_opened_at is None
    assert app().failure_streak == 4

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.error_kind, run.failed) == ("postponed", "endpoint_throttled", 0)
    assert app().circuit_opened_at is not None
    assert (world.subscription.retry_count, world.subscription.is_throttled) == (0, True)


def test_both_at_once_the_circuit_is_probed_when_both_are_over(world: World) -> None:
    world.repo.commit({f"{n:02}": b"1" for n in range(20)})
    world.receiver.answer = always(503, LONG)
    for _ in range(5):
        world.run_when_due()
    assert app().circuit_opened_at is not None
    before = len(world.receiver.requests)
    App.objects.update(circuit_until=Now())
    Subscription.objects.update(due_at=Now())
    assert run_subscription(world.id, worker="test") is None, "it is still throttled"
    world.receiver.answer = accept

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.requests, len(world.receiver.requests) - before) == ("synced", 21, 21)
    assert world.events(before)[0]["type"] == "ping", "files that were sent are no probe"
    assert (app().circuit_opened_at, app().throttled_until, app().probe_until) == (None, None, None)


def test_an_open_circuit_comes_before_the_wait(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now() + timedelta(hours=1))

    run = world.run_when_due()

    assert run is not None
    assert (run.error_kind, run.requests) == ("endpoint_circuit_open", 0)
    circuits.endpoint_answered(world.app.id)


def test_parts_wait_and_go_on_with_the_same_part(world: World, settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"big": b"x" * 5000})
    world.receiver.answer = in_turn(accept, always(429), always(503), accept)

    run = world.run()

    assert (run.outcome, run.requests) == ("synced", 7)
    index = [event["data"]["file"]["chunk"]["index"] for event in world.events()]
    assert index == [0, 1, 1, 1, 2, 3, 4]
    ids = [request.headers["webhook-id"] for request in world.receiver.requests]
    assert len(set(ids)) == 5


@pytest.mark.parametrize("forgets", [False, True])
def test_a_file_of_more_parts_than_a_wait_lets_through_arrives(world: World, settings: Settings, forgets: bool) -> None:
    """The next run goes on with the part that was refused; an endpoint that has lost the others answers 409."""
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"big": b"x" * 5000})
    limit, taken = Limit(3), 0
    parts: dict[int, str] = {}

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        nonlocal taken
        (file,) = files_of(body)
        index = file["chunk"]["index"]
        if index and index != taken:
            return 409, {}, b"out of order", 0.0
        reply = limit(headers, body)
        if reply is OK:
            taken, parts[index] = index + 1, file["content"]
        return reply

    world.receiver.answer = answer
    assert world.run().error_kind == "endpoint_throttled"
    if forgets:
        taken, limit.requests = 0, 9
    limit.reset()

    again = world.run_when_due()

    assert again is not None
    assert (again.outcome, again.delivered) == ("synced", 1)
    indexes = [event["data"]["file"]["chunk"]["index"] for event in world.events()]
    assert indexes == [0, 1, 2, 3, *([3, 0, 1, 2, 3, 4] if forgets else [3, 4])]
    assert b"".join(b64decode(parts[index]) for index in range(5)) == b"x" * 5000


def test_only_the_app_that_asked_waits(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()
    world.receiver.answer = accept
    other = SubscriptionFactory(app__url=world.receiver.url, repository=world.repository)

    run = run_subscription(other.id, worker="test")

    assert run is not None
    assert run.outcome == "synced"
