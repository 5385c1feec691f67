"""A wait that an endpoint asked for is shared by all runs of its app: one goes first, the others follow."""

import threading
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from syncsvc.models import App, Status, Subscription, Trigger
from syncsvc.store import circuits, throttles
from syncsvc.sync.lease import Lease
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.scheduler import wake_due_subscriptions
from syncsvc.sync.throttle import EndpointThrottle
from tests.outages import open_circuit, throttle
from tests.receiver import OK, Reply, accept
from tests.sync.answers import always, files_of
from tests.sync.test_throttling import LONG, app, at_once, others
from tests.sync.world import World


def test_twenty_repositories_of_an_app_ask_once_in_a_wait(world: World) -> None:
    world.repo.commit({"a": b"1"})
    ids = [world.id, *others(world, 19)]
    world.receiver.answer = always(429, LONG)

    assert [run_subscription(id, worker="test") is not None for id in ids] == [True, *[False] * 19]

    assert len(world.receiver.requests) == 1
    world.receiver.answer = accept
    world.end_wait()
    Subscription.objects.update(due_at=Now())
    assert all(run_subscription(id, worker="test") for id in ids)
    assert len(world.receiver.requests) == 1 + 20


def test_one_run_goes_first_when_the_wait_is_over(world: World) -> None:
    """The first request is met by another refusal: nobody else has sent one."""
    world.repo.commit({f"{n}": b"1" for n in range(30)})
    ids = [world.id, *others(world, 3)]
    world.receiver.answer = always(429, LONG)
    world.run()
    world.end_wait()
    Subscription.objects.update(due_at=Now())
    before = len(world.receiver.requests)
    world.receiver.answer = always(429, LONG, delay=0.3)

    ended = at_once(ids)

    assert len(world.receiver.requests) - before == 1
    assert {run.error_kind for run in ended if run} == {"endpoint_throttled"}
    assert not Subscription.objects.exclude(status=Status.PENDING).exists()


def test_the_others_follow_the_first_success(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(30)})
    ids = [world.id, *others(world, 3)]
    world.receiver.answer = always(429, LONG)
    world.run()
    Subscription.objects.exclude(id=world.id).update(queued_at=Now())  # woken, for nothing
    world.end_wait()
    world.receiver.answer = accept

    first = world.run_when_due()

    assert first is not None
    assert (first.outcome, app().throttled_until) == ("synced", None)
    assert wake_due_subscriptions() == 3
    assert {run.outcome for run in at_once(ids[1:]) if run} == {"synced"}


def test_the_place_of_a_first_run_that_died_is_free_after_a_lease(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()
    world.end_wait()
    Subscription.objects.update(due_at=Now())
    assert throttles.go_first(world.app.id, early=False, seconds=60)
    world.receiver.answer = accept
    assert run_subscription(world.id, worker="test") is None
    assert wake_due_subscriptions() == 0
    App.objects.update(probe_until=Now())

    assert wake_due_subscriptions() == 1
    run = run_subscription(world.id, worker="test")
    assert run is not None
    assert run.outcome == "synced"


def test_the_place_of_a_first_run_is_free_when_it_is_refused_though_the_circuit_has_opened(world: World) -> None:
    """By another run, while this one's first request was on its way; else nobody would send anything for a lease."""
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()

    def opens(headers: dict[str, str], body: bytes) -> Reply:
        open_circuit(world.app.id)
        connection.close()
        return 503, LONG, b"", 0.0

    world.receiver.answer = opens

    run = world.run_when_due()

    assert run is not None
    assert (run.requests, app().probe_until) == (1, None)


def test_an_operators_retry_sends_one_request_at_once(world: World) -> None:
    App.objects.update(max_in_flight=16)
    world.repo.commit({f"{n}": b"1" for n in range(30)})
    world.receiver.answer = always(429, LONG)
    world.run()
    before = len(world.receiver.requests)

    run = world.run(Trigger.RETRY)

    assert (run.error_kind, run.requests, len(world.receiver.requests) - before) == ("endpoint_throttled", 1, 1)
    world.receiver.answer = accept
    assert world.run(Trigger.RETRY).outcome == "synced"
    assert app().throttled_until is None, "for everybody"


def test_a_refusal_only_ever_lengthens_the_wait(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, LONG)
    world.run()
    until = app().throttled_until
    world.receiver.answer = always(429, {"Retry-After": "1"})

    world.run(Trigger.RETRY)

    assert app().throttled_until == until


def test_only_a_request_that_was_sent_after_the_refusal_ends_the_wait(world: World) -> None:
    """Slow answers to earlier requests are no news."""
    App.objects.update(max_in_flight=2)
    world.repo.commit({"a": b"1", "slow": b"1"})
    slow = threading.Event()

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        if files_of(body)[0]["path"] == "slow":
            slow.wait(10)
            return OK
        threading.Timer(0.2, slow.set).start()
        return 429, LONG, b"", 0.0

    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.delivered, run.error_kind) == ("postponed", 1, "endpoint_throttled")
    assert app().throttled_until is not None


def test_runs_of_another_process_hear_of_the_wait_from_the_database(world: World) -> None:
    """The wait began after this run was claimed."""
    world.repo.commit({f"{n:03}": b"1" for n in range(200)})
    App.objects.update(max_in_flight=1)

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        if len(world.receiver.requests) == 5:
            throttles.throttle(world.app.id, url=world.app.url, asked=600, first=1, most=30)
            connection.close()
        return 429 if len(world.receiver.requests) > 5 else 204, {}, b"", 0.0

    world.receiver.answer = answer

    run = world.run()

    assert (run.delivered, run.requests, run.error_kind) == (5, 6, "endpoint_throttled")
    due_at = world.subscription.due_at
    assert due_at is not None
    assert due_at - timezone.now() > timedelta(seconds=500)


def test_a_run_that_went_first_once_does_not_free_the_place_of_a_later_probe(world: World) -> None:
    throttle(world.app.id, seconds=-1)
    first = EndpointThrottle(app(), Lease(), timezone.now)
    assert first.enter(early=False) is None
    first.acknowledged(timezone.now())
    assert app().throttled_until is None
    open_circuit(world.app.id, cooldown=0)
    assert circuits.take_probe(world.app.id, early=False, seconds=60)

    first.refused(600)

    assert app().probe_until is not None
