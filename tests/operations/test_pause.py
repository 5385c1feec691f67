"""Pause and resume, by hand and by itself."""

from functools import partial

import pytest

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, Subscription
from syncsvc.operations import bulk, control
from syncsvc.operations.release import sweep_operations
from tests.operations.fleet import (
    ASKER,
    FAILED,
    HANDED_BACK,
    RETRY,
    SYNCED,
    adds_up,
    claim,
    counts,
    end,
    fleet,
    hand_back_beside,
    probe_fails,
    run,
    work,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_paused_operation_leaves_its_subscriptions_as_they_were_and_goes_on_when_resumed() -> None:
    subscriptions = fleet(apps=2, each=3)
    before = list(Subscription.objects.order_by("id").values())
    operation = bulk.start(RETRY, ASKER)

    paused = control.pause(operation.id, ASKER)

    assert (paused.status, paused.reason) == ("paused", "Paused by a test.")
    assert list(Subscription.objects.order_by("id").values()) == before
    sweep_operations()
    assert not any(run(s.id) for s in subscriptions)
    assert (counts(operation), adds_up()) == ({"waiting": 6}, True)

    assert (control.resume(operation.id, ASKER).status, Operation.objects.get().reason) == ("running", "")
    work(subscriptions)
    assert (counts(operation), operation.status) == ({"succeeded": 6}, "finished")


def test_what_runs_while_it_is_paused_finishes_and_counts_and_its_end_releases_nothing() -> None:
    subscriptions = fleet(apps=1, each=2)
    operation = bulk.start(RETRY, ASKER, max_running=1)
    job = claim(subscriptions[0].id) or claim(subscriptions[1].id)
    assert job is not None
    control.pause(operation.id, ASKER)
    end(job, SYNCED)
    assert (counts(operation), operation.status) == ({"succeeded": 1, "waiting": 1}, "paused")
    assert not operation.items.exclude(released_at=None).exists()


def test_a_run_that_is_handed_back_under_a_pause_waits_unreleased() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    job = claim(subscription.id)
    assert job is not None
    control.pause(operation.id, ASKER)
    end(job, HANDED_BACK)
    assert (counts(operation), operation.items.get().released_at) == ({"waiting": 1}, None)


def test_pausing_sees_items_that_were_put_back_while_it_waited_for_the_operation() -> None:
    subscriptions = fleet(apps=1, each=8)
    operation = bulk.start(RETRY, ASKER)
    for _ in range(6):
        jobs = [claim(s.id) for s in subscriptions]
        hand_back_beside(jobs, partial(control.pause, operation.id, ASKER))
        assert (adds_up(), counts(operation)) == (True, {"waiting": 8})
        assert not operation.items.exclude(released_at=None).exists(), "a paused operation has released items"
        control.resume(operation.id, ASKER)


def test_pausing_twice_is_no_error_and_what_has_ended_is_refused() -> None:
    subscriptions = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    control.pause(operation.id, ASKER)
    assert control.pause(operation.id, ASKER).status == "paused"
    control.resume(operation.id, ASKER)
    assert control.resume(operation.id, ASKER).status == "running"
    work(subscriptions)
    for call in (control.pause, control.resume):
        with pytest.raises(Refused) as refused:
            call(operation.id, ASKER)
        assert refused.value.kind == "conflict"


def test_it_can_be_cancelled_while_it_is_paused() -> None:
    fleet(apps=1, each=2)
    operation = bulk.start(RETRY, ASKER)
    control.pause(operation.id, ASKER)
    assert control.cancel(operation.id, ASKER).status == "cancelled"
    assert adds_up()


def test_it_pauses_by_itself_when_more_than_its_percentage_fails_and_says_why() -> None:
    subscriptions = fleet(apps=1, each=20)
    operation = bulk.start(RETRY, ASKER, abort_percent=20, max_running=2)
    work(subscriptions[:0])
    ended = 0
    while operation.status == "running":
        (id,) = operation.items.exclude(released_at=None).values_list("subscription_id", flat=True)[:1]
        assert run(id, FAILED)
        ended += 1
        operation.refresh_from_db()
    assert (ended, counts(operation)) == (5, {"failed": 5, "waiting": 15})
    assert (operation.status, operation.reason) == ("paused", "Paused by itself: 5 of 5 failed.")

    control.resume(operation.id, ASKER)
    work(subscriptions, FAILED)
    assert (counts(operation), operation.status) == ({"failed": 20}, "finished"), "whoever resumes it wants it so"


def test_a_few_that_fail_do_not_pause_it() -> None:
    subscriptions = fleet(apps=1, each=20)
    operation = bulk.start(RETRY, ASKER, abort_percent=20)
    for number, subscription in enumerate(subscriptions):
        assert run(subscription.id, FAILED if number % 5 == 0 else SYNCED)
    assert (counts(operation), operation.status) == ({"succeeded": 16, "failed": 4}, "finished")


def test_what_is_failed_without_a_run_is_no_sample_of_the_operation() -> None:
    """One endpoint of six is dead: 12 of 72 fail at once, long before the others have had their turn."""
    subscriptions = fleet(apps=6, each=12)
    operation = bulk.start(RETRY, ASKER, abort_percent=20, max_running=6)
    dead = [row for row in subscriptions if row.app_id == subscriptions[0].app_id]
    job = next(job for row in dead if (job := claim(row.id)))

    end(job, probe_fails(job))

    assert counts(operation) == {"failed": 12, "waiting": 60}
    assert operation.status == "running"
    while operation.status == "running":
        (id,) = operation.items.exclude(released_at=None).values_list("subscription_id", flat=True)[:1]
        assert run(id, FAILED)
        operation.refresh_from_db()
    assert counts(operation) == {"failed": 12 + 10, "waiting": 50}, "what has run counts, as before"
