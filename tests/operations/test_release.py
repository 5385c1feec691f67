"""What an operation's window lets through, when, and what becomes of what it cannot let through."""

import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from config.celery import app as celery
from syncsvc.models import App, Operation, OperationItem, RemoteHost, Repository, Status, Subscription, Trigger
from syncsvc.operations import bulk
from syncsvc.operations.release import knock_again, release, sweep_operations, wake_released
from syncsvc.operations.scope import Scope
from syncsvc.store import circuits
from syncsvc.store.operations import cancel_operation, pause_operation
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.scheduler import sweep
from tests.operations.fleet import (
    ASKER,
    HANDED_BACK,
    POSTPONED,
    RESYNC,
    RETRY,
    SYNCED,
    adds_up,
    apps_of,
    claim,
    counts,
    end,
    fleet,
    in_threads,
    meets_open_circuit,
    run,
    work,
)
from tests.outages import throttle

pytestmark = pytest.mark.django_db(transaction=True)


def released() -> list[uuid.UUID]:
    """Subscriptions whose item is in flight."""
    items = OperationItem.objects.filter(released_at__isnull=False, status__in=("waiting", "running"))
    return list(items.order_by("turn", "id").values_list("subscription_id", flat=True))


def messages() -> list[str]:
    """The lanes of the wake-ups that are on their way; they are taken off it."""
    with celery.connection_for_read() as connection:
        client = connection.channel().client
        found = [lane for lane in ("live.0", "bulk.0") for _ in range(client.llen(lane))]
        client.delete("live.0", "bulk.0")
    return found


def long_ago(**values: object) -> None:
    Subscription.objects.filter(**values).update(queued_at="2026-01-01T00:00:00Z")


def test_apps_take_turns() -> None:
    fleet(apps=3, each=4)
    bulk.start(RETRY, ASKER, max_running=6)
    assert sorted(Counter(apps_of(released())).values()) == [2, 2, 2]


def test_the_window_is_never_exceeded_whoever_refills_it() -> None:
    subscriptions = fleet(apps=2, each=20)
    operation = bulk.start(RETRY, ASKER, max_running=5)
    in_threads(lambda _: release(operation.id), 8)
    assert len(released()) == 5
    first = released()
    assert in_threads(lambda n: run(first[n]), 5) == [True] * 5
    assert len(released()) == 5
    work(subscriptions)
    assert (adds_up(), counts(operation)) == (True, {"succeeded": 40})


def test_an_app_whose_runs_hang_gets_a_quarter_of_the_window_while_others_wait() -> None:
    subscriptions = fleet(apps=5, each=10)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    hanging = subscriptions[0].app_id
    while others := [id for id, app in zip(released(), apps_of(released()), strict=True) if app != hanging]:
        assert run(others[0])
        if operation.items.filter(status="waiting", released_at=None).exclude(app_id=hanging).exists():
            assert Counter(apps_of(released()))[hanging] <= 2
    assert counts(operation) == {"succeeded": 40, "waiting": 10}
    assert Counter(apps_of(released())) == {hanging: 8}, "alone it has the whole window"


def test_after_a_pause_an_app_that_was_behind_does_not_take_the_window_for_itself() -> None:
    subscriptions = fleet(apps=5, each=10)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    slow = subscriptions[0].app_id
    operation.items.exclude(app_id=slow).update(turn=100)
    pause_operation(operation.id)
    Operation.objects.resume(operation.id)
    release(operation.id)
    assert (len(released()), Counter(apps_of(released()))[slow]) == (8, 2)


def test_one_app_alone_fills_the_window() -> None:
    fleet(apps=1, each=10)
    bulk.start(RETRY, ASKER, max_running=8)
    assert len(released()) == 8


def test_release_changes_the_mark_and_queued_at_only() -> None:
    fleet(apps=1, each=2)
    before = list(Subscription.objects.order_by("id").values())
    bulk.start(RETRY, ASKER)
    after = list(Subscription.objects.order_by("id").values())
    assert [row["queued_at"] is not None for row in after] == [True, True]
    assert [row | {"queued_at": None} for row in after] == before


@pytest.mark.parametrize("kind", [RETRY, RESYNC])
def test_what_is_queued_or_syncing_waits_for_that_end_and_is_looked_at_then(kind: Scope) -> None:
    queued, syncing = fleet(apps=1, each=2)
    operation = bulk.start(kind, ASKER, max_running=1)
    pause_operation(operation.id)
    Subscription.objects.update(status=Status.PENDING, due_at=Now())
    Subscription.objects.filter(id=queued.id).update(queued_at=Now())
    job = claim(syncing.id)
    assert job is not None
    Operation.objects.resume(operation.id)

    assert (release(operation.id), counts(operation)) == (0, {"waiting": 2})
    end(job, SYNCED)
    assert run(queued.id)
    sweep_operations()

    if kind is RETRY:
        assert counts(operation) == {"skipped": 2}
        assert {item.reason for item in operation.items.all()} == {"All is well: it was synced meanwhile."}
        return
    assert counts(operation) == {"waiting": 2}
    work([queued, syncing])
    assert (counts(operation), set(Subscription.objects.values_list("epoch", flat=True))) == ({"succeeded": 2}, {2})


def test_a_retry_whose_subscription_failed_again_meanwhile_runs() -> None:
    (subscription,) = fleet(apps=1, each=1)
    Subscription.objects.update(due_at=Now())
    operation = bulk.start(RETRY, ASKER)
    pause_operation(operation.id)
    job = claim(subscription.id)
    assert job is not None
    Operation.objects.resume(operation.id)
    end(job, POSTPONED)
    assert Subscription.objects.get().status == Status.FAILED
    sweep_operations()
    assert run(subscription.id)
    assert counts(operation) == {"succeeded": 1}


def test_two_operations_over_the_same_subscriptions_never_run_one_twice_at_once() -> None:
    subscriptions = fleet(apps=2, each=3)
    first, second = bulk.start(RETRY, ASKER), bulk.start(RESYNC, ASKER)
    assert (first.items.exclude(released_at=None).count(), second.items.exclude(released_at=None).count()) == (6, 0)
    jobs = [claim(s.id) for s in subscriptions]
    assert release(second.id) == 0
    for job in jobs:
        assert job is not None
        end(job, SYNCED)
    sweep_operations()
    work(subscriptions)
    assert (counts(first), counts(second)) == ({"succeeded": 6}, {"succeeded": 6})
    assert adds_up()
    assert set(Subscription.objects.values_list("epoch", flat=True)) == {2}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (App, "The app is paused."),
        (Repository, "The repository is paused."),
        (Subscription, "The subscription is paused."),
    ],
)
def test_what_was_paused_before_its_claim_is_skipped_with_the_reason(model: type[App], reason: str) -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    model.objects.update(is_active=False)

    assert not run(subscription.id)
    sweep_operations()

    assert (counts(operation), operation.status, operation.items.get().reason) == ({"skipped": 1}, "finished", reason)
    assert (adds_up(), Subscription.objects.get().queued_at) == (True, None)


def test_what_was_deleted_is_skipped_and_its_item_keeps_its_name() -> None:
    first, second = fleet(apps=1, each=2)
    operation = bulk.start(RETRY, ASKER)
    claim(first.id)
    name = str(first)
    Subscription.objects.all().delete()

    sweep_operations()

    assert (counts(operation), operation.status, adds_up()) == ({"skipped": 2}, "finished", True)
    items = {str(item): item.reason for item in operation.items.all()}
    assert items == {
        name: "The subscription was deleted while it ran.",
        str(second): "The subscription was deleted.",
    }


def test_an_operation_that_is_cancelled_while_its_last_running_subscription_is_deleted_ends() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    claim(subscription.id)
    cancel_operation(operation.id)
    Subscription.objects.all().delete()
    sweep_operations()
    assert (counts(operation), operation.status) == ({"skipped": 1}, "cancelled")


def test_items_of_an_app_whose_circuit_is_open_wait_for_its_end() -> None:
    subscriptions = fleet(apps=2, each=2)
    broken = subscriptions[0].app
    App.objects.filter(id=broken.id).update(circuit_opened_at=Now(), circuit_until="2100-01-01T00:00:00Z")
    operation = bulk.start(RETRY, ASKER)
    assert set(apps_of(released())) == {subscriptions[2].app_id}
    work(subscriptions)
    assert counts(operation) == {"succeeded": 2, "waiting": 2}

    circuits.endpoint_answered(broken.id)
    sweep_operations()
    work(subscriptions)
    assert (counts(operation), operation.status) == ({"succeeded": 4}, "finished")


def test_while_the_probe_of_a_circuit_is_out_nothing_is_released_into_it() -> None:
    subscriptions = fleet(apps=1, each=2)
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now(), probe_until="2100-01-01T00:00:00Z")
    operation = bulk.start(RETRY, ASKER)
    assert released() == []
    App.objects.update(probe_until=None)
    release(operation.id)
    assert sorted(released()) == sorted(s.id for s in subscriptions)


def test_an_item_that_meets_an_open_circuit_waits_again_and_is_not_failed() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    App.objects.update(circuit_opened_at=Now(), circuit_until="2100-01-01T00:00:00Z")
    job = claim(subscription.id)
    assert job is not None
    assert job.trigger is Trigger.RETRY
    assert not job.single_retry, "a bulk of hundreds would lengthen the cool-down with every try"
    end(job, meets_open_circuit(job))
    assert (counts(operation), released(), adds_up()) == ({"waiting": 1}, [], True)
    circuits.endpoint_answered(subscription.app_id)
    sweep_operations()
    work([subscription])
    assert counts(operation) == {"succeeded": 1}


def test_a_released_item_whose_message_was_lost_is_woken_again() -> None:
    (subscription,) = fleet(apps=1, each=1)
    Repository.objects.update(due_at="2100-01-01T00:00:00Z")
    messages()
    operation = bulk.start(RETRY, ASKER)
    assert messages() == ["bulk.0"], "which loses it"
    sweep()
    sweep_operations()
    assert messages() == []
    long_ago()
    assert subscription.due_at is None, "so that nothing else would wake it"
    sweep()
    sweep_operations()
    assert messages() == ["bulk.0"]
    assert run(subscription.id)
    assert counts(operation) == {"succeeded": 1}


def test_a_released_resync_that_another_run_came_before_is_woken_at_once() -> None:
    (subscription,) = fleet(apps=1, each=1, synced=True)
    operation = bulk.start(RESYNC, ASKER)
    messages()
    # What a claim leaves that began before the release was to be seen.
    Subscription.objects.update(queued_at=None)
    assert wake_released() == 1
    assert wake_released() == 0
    assert run(subscription.id)
    assert counts(operation) == {"succeeded": 1}


def test_a_run_that_waits_for_its_mirror_is_not_woken_before_its_time() -> None:
    (subscription,) = fleet(apps=1, each=1)
    bulk.start(RETRY, ASKER)
    job = claim(subscription.id)
    assert job is not None
    end(job, type(HANDED_BACK)(delay=30, awaits_fetch=True))
    assert (wake_released(), released()) == (0, [subscription.id])
    assert [s.id for s in Subscription.objects.all().fetch_ended()] == [subscription.id]


def test_what_nobody_claims_for_some_seconds_is_knocked_for_again_but_not_each_second() -> None:
    fleet(apps=1, each=2)
    bulk.start(RETRY, ASKER)
    messages()
    for age, expected in ((0, []), (3, ["bulk.0"]), (6, []), (11, ["bulk.0"]), (30, [])):
        OperationItem.objects.update(released_at=Now() - timedelta(seconds=age))
        knock_again()
        assert messages() == expected, age


def test_a_push_while_it_is_released_joins_the_run_of_the_operation() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    assert ask_for_runs(Subscription.objects.all(), Trigger.PUSH) == 0
    job = claim(subscription.id)
    assert job is not None
    assert job.trigger is Trigger.RETRY
    end(job, SYNCED)
    assert counts(operation) == {"succeeded": 1}


def test_refilling_a_window_costs_the_same_few_statements_however_many_items_wait(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    fleet(apps=8, each=40)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    assert run(released()[0])
    with django_assert_max_num_queries(6):
        release(operation.id)


@pytest.mark.parametrize("limits", ["endpoint", "host"])
def test_what_must_wait_for_long_takes_no_place_in_the_window(limits: str) -> None:
    """It was released before its endpoint, or its remote's host, asked to be left alone."""
    rows = fleet(apps=2, each=6)
    operation = bulk.start(RETRY, ASKER, max_running=4)
    assert len(released()) == 4
    if limits == "endpoint":
        waiting = [row for row in rows if row.app_id == rows[0].app_id]
        throttle(rows[0].app_id, seconds=600)
    else:
        names = {row.repository_id for row in rows if row.id in released()}
        Repository.objects.filter(id__in=names).update(url="https://quiet.example.com/a.git")
        RemoteHost.objects.create(name="quiet.example.com", quiet_until=timezone.now() + timedelta(minutes=10))
        waiting = [row for row in rows if row.repository_id in names]

    sweep_operations()

    marked = set(released())
    assert len(marked) == 4
    assert not marked & {row.id for row in waiting}
    queued = Subscription.objects.filter(queued_at__isnull=False).values_list("id", flat=True)
    assert set(queued) == marked, "those that wait may be asked for by others"
    App.objects.update(throttled_until=None, throttled_since=None, throttled_at=None)
    RemoteHost.objects.all().delete()
    work(rows)
    assert counts(operation) == {"succeeded": 12}


def test_a_short_wait_keeps_its_places_in_the_window() -> None:
    rows = fleet(apps=1, each=6)
    bulk.start(RETRY, ASKER, max_running=4)
    throttle(rows[0].app_id, seconds=0.05)
    sweep_operations()
    assert len(released()) == 4
