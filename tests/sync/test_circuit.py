"""An endpoint that is down is left alone, and tried by one request at a time."""

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import App, DeliveryAttempt, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.store import circuits
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.circuit import PROOF, circuit_has_closed
from syncsvc.sync.pipeline import run_subscription
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.receiver import Reply, accept
from tests.sync.answers import always, in_turn
from tests.sync.world import World


@pytest.fixture(autouse=True)
def _one_at_a_time(world: World) -> None:
    App.objects.update(max_in_flight=1)


def app() -> App:
    return App.objects.get()


def others(world: World, count: int) -> list[uuid.UUID]:
    """More repositories that the same app follows; all have the same remote."""
    return [
        SubscriptionFactory(app=world.app, repository=RepositoryFactory(url=str(world.repo.path))).id
        for _ in range(count)
    ]


def run(id: uuid.UUID, trigger: Trigger = Trigger.SYNC) -> SyncRun:
    ask_for_runs(Subscription.objects.filter(id=id), trigger)
    ended = run_subscription(id, worker="test")
    assert ended is not None
    return ended


def open_circuit(world: World) -> None:
    world.receiver.answer = always(500)
    assert world.run().error_kind == "endpoint_error"
    assert app().circuit_opened_at is not None


def end_cooldown() -> None:
    App.objects.update(circuit_until=Now())


def test_an_endpoint_that_fails_whatever_it_is_sent_opens_the_circuit(world: World) -> None:
    """After CIRCUIT_THRESHOLD messages others are tried; PROOF more of them, and a ping, settle it."""
    world.repo.commit({f"{n}": b"1" for n in range(50)})
    world.receiver.answer = always(500)

    ended = world.run()

    most = 5 + PROOF
    assert (ended.outcome, ended.failed, ended.error_kind) == ("postponed", most, "endpoint_error")
    sent = Counter(DeliveryAttempt.objects.values_list("path", flat=True))
    assert sent.pop(None) == 3, "the ping has its second chances too"
    assert len(sent) == most
    assert max(sent.values()) <= 3
    assert app().circuit_opened_at is not None
    due_at = world.subscription.due_at
    assert due_at is not None
    assert timedelta(seconds=28) < due_at - timezone.now() < timedelta(seconds=34)


def test_failures_in_a_row_are_counted_over_runs_and_subscriptions(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(500)
    ids = others(world, 5)
    for id in ids[:4]:
        assert run(id).error_kind == "endpoint_error"
    assert (app().failure_streak, app().circuit_opened_at) == (4, None)

    run(ids[4])

    assert app().circuit_opened_at is not None


@pytest.mark.parametrize("status", [204, 422, 429, 302])
def test_any_other_answer_in_between_resets_the_count(world: World, status: int) -> None:
    world.repo.commit({"a": b"1"})
    App.objects.update(failure_streak=4)
    world.receiver.answer = always(status)
    world.run()

    assert (app().failure_streak, app().circuit_opened_at) == (0, None)


def test_a_success_in_the_middle_of_a_run_resets_the_count(world: World, settings: Settings) -> None:
    settings.RESEND_DELAYS = ()
    world.repo.commit({f"{n}": b"1" for n in range(9)})
    world.receiver.answer = in_turn(*[always(500)] * 4, accept, always(500))

    assert world.run().requests == 9
    assert (app().failure_streak, app().circuit_opened_at) == (4, None)


def test_other_runs_wait_for_the_cooldowns_end_without_a_request_and_without_using_up_a_try(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    (other,) = others(world, 1)
    open_circuit(world)
    Subscription.objects.filter(id=other).update(retry_count=2)
    before = len(world.receiver.requests)

    ended = run(other)

    assert (ended.outcome, ended.error_kind, ended.requests) == ("postponed", "endpoint_circuit_open", 0)
    assert len(world.receiver.requests) == before
    assert not DeliveryAttempt.objects.filter(subscription=other).exists()
    subscription = Subscription.objects.get(id=other)
    assert (subscription.status, subscription.retry_count) == (Status.PENDING, 2)
    until = app().circuit_until
    assert until is not None
    assert subscription.due_at is not None
    assert timedelta(0) <= subscription.due_at - until <= timedelta(seconds=4)


def test_the_probe_is_one_request_and_its_success_closes_the_circuit_and_lets_the_rest_go(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    waiting = others(world, 3)
    open_circuit(world)
    for id in waiting:
        run(id)
    end_cooldown()
    world.receiver.answer = accept

    ended = world.run_when_due()

    assert ended is not None
    assert (ended.outcome, ended.delivered) == ("synced", 10)
    closed = app()
    assert (closed.circuit_opened_at, closed.circuit_openings, closed.failure_streak) == (None, 0, 0)
    assert closed.probe_until is None
    for subscription in Subscription.objects.filter(id__in=waiting):
        assert subscription.due_at is not None
        assert subscription.due_at < timezone.now() + timedelta(seconds=6)
    assert run(waiting[0]).outcome == "synced"


def test_a_probe_goes_out_alone_even_where_the_window_is_wide(world: World) -> None:
    App.objects.update(max_in_flight=16)
    world.repo.commit({f"{n}": b"1" for n in range(40)})
    open_circuit(world)
    end_cooldown()
    before = len(world.receiver.requests)
    world.receiver.answer = always(503, delay=0.1)

    ended = world.run_when_due()

    assert ended is not None
    assert (ended.requests, len(world.receiver.requests) - before) == (1, 1)


@pytest.mark.parametrize("answer", [always(500), always(503), always(204, delay=1)])
def test_a_probe_that_fails_is_told_as_what_it_met(world: World, answer: Any) -> None:
    """Files that the last run sent are no probe: a ping is, and none of them has failed again."""
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    open_circuit(world)
    end_cooldown()
    App.objects.update(timeout=0.2)
    before = len(world.receiver.requests)
    world.receiver.answer = answer

    ended = world.run_when_due()

    assert ended is not None
    assert [event["type"] for event in world.events(before)] == ["ping"]
    attempt = ended.attempts.get()
    assert (ended.failed, ended.error_kind) == (0, attempt.error_kind)
    assert "10 changes" in ended.error
    assert attempt.error in ended.error


def test_a_failed_probe_doubles_the_cooldown_up_to_the_maximum(world: World, settings: Settings) -> None:
    settings.CIRCUIT_COOLDOWN_SECONDS, settings.CIRCUIT_COOLDOWN_MAX_SECONDS = 30, 100
    settings.RETRY_DELAYS = (1,) * 20
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    open_circuit(world)
    since = app().circuit_opened_at
    cooldowns = []
    for _ in range(4):
        end_cooldown()
        ended = world.run_when_due()
        assert ended is not None
        assert ended.requests == 1
        until = app().circuit_until
        assert until is not None
        cooldowns.append(round((until - timezone.now()).total_seconds()))

    assert cooldowns == [60, 100, 100, 100]
    assert app().circuit_opened_at == since


@pytest.mark.parametrize("answer", [always(422), always(429)])
def test_a_probe_that_is_answered_at_all_closes_the_circuit(world: World, answer: Any) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    open_circuit(world)
    end_cooldown()
    world.receiver.answer = answer

    world.run_when_due()

    assert app().circuit_opened_at is None


def test_exactly_one_of_several_runs_probes(world: World, settings: Settings) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    ids = others(world, 4)
    open_circuit(world)
    end_cooldown()
    Subscription.objects.update(due_at=Now())
    before = len(world.receiver.requests)
    world.receiver.answer = always(503, delay=1.5)
    outcomes: list[tuple[str, int]] = []

    def work(id: uuid.UUID) -> None:
        ended = run_subscription(id, worker="test")
        assert ended is not None
        outcomes.append((ended.error_kind, ended.requests))
        connection.close()

    threads = [threading.Thread(target=work, args=[id]) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [("endpoint_circuit_open", 0)] * 3 + [("endpoint_throttled", 1)]
    assert len(world.receiver.requests) - before == 1


def test_a_retry_by_an_operator_probes_before_the_cooldowns_end(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    open_circuit(world)
    world.receiver.answer = accept
    assert world.run(Trigger.SYNC).error_kind == "endpoint_circuit_open"

    ended = world.run(Trigger.RETRY)

    assert (ended.outcome, ended.delivered) == ("synced", 5)
    assert app().circuit_opened_at is None


def test_a_probe_that_died_is_freed_when_its_lease_would_have_ended(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    open_circuit(world)
    end_cooldown()
    assert circuits.take_probe(world.app.id, early=False, seconds=60)
    world.receiver.answer = accept
    assert world.run().error_kind == "endpoint_circuit_open"
    App.objects.update(probe_until=Now())

    assert world.run().outcome == "synced"


def test_a_run_that_meets_the_probe_of_another_does_not_come_again_and_again(world: World) -> None:
    """It is due when that probe would be free, or within seconds of its success."""
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    open_circuit(world)
    end_cooldown()
    assert circuits.take_probe(world.app.id, early=False, seconds=60)

    assert world.run().error_kind == "endpoint_circuit_open"

    due_at = world.subscription.due_at
    assert due_at is not None
    assert due_at - timezone.now() > timedelta(seconds=50)
    assert circuits.endpoint_answered(world.app.id)
    assert circuit_has_closed(world.app.id) == 1
    due_at = world.subscription.due_at
    assert due_at is not None
    assert due_at - timezone.now() < timedelta(seconds=6)


def test_after_an_hour_of_an_open_circuit_what_waits_is_failed(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    (other,) = others(world, 1)
    open_circuit(world)
    assert run(other).outcome == "postponed"
    App.objects.update(circuit_opened_at=F("circuit_opened_at") - timedelta(hours=1))

    ended = run(other)

    subscription = Subscription.objects.get(id=other)
    assert (ended.outcome, ended.error_kind, ended.requests) == ("failed", "endpoint_circuit_open", 0)
    assert (subscription.status, subscription.retry_count) == (Status.FAILED, 0)
    assert subscription.due_at is not None


def test_a_run_with_nothing_to_send_does_not_care_about_the_circuit(world: World) -> None:
    world.repo.commit({"a": b"1"})
    assert world.run().outcome == "synced"
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now() + timedelta(hours=1))

    assert world.run().outcome == "synced"


def test_a_circuit_that_another_run_opened_ends_this_run_at_its_next_failure(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(20)})

    def fails_while_another_opens(headers: dict[str, str], body: bytes) -> Reply:
        App.objects.update(circuit_opened_at=Now(), circuit_until=Now() + timedelta(hours=1), failure_streak=9)
        connection.close()
        return 500, {}, b"", 0.0

    world.receiver.answer = fails_while_another_opens

    ended = world.run()

    assert (ended.requests, ended.delivered, ended.outcome) == (1, 0, "postponed")


def test_telling_of_a_failure_is_no_evidence_for_or_against_the_endpoint(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    Repository.objects.update(branch="nowhere")
    App.objects.update(failure_streak=3)
    world.receiver.answer = always(500)
    world.run()
    assert app().failure_streak == 3

    Repository.objects.update(branch="elsewhere")
    Subscription.objects.update(failure_notified=False)
    world.receiver.answer = accept
    world.run()

    assert [event["type"] for event in world.events()[-2:]] == ["sync.failed"] * 2
    assert app().failure_streak == 3


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("recorder")]
