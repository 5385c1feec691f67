"""Stop this run: the run that goes on and no other, in the log, and also where its worker is dead."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, Status, Subscription, SyncRun
from syncsvc.operations.asker import Asker
from syncsvc.operations.stopping import stop
from syncsvc.sync.scheduler import end_expired_leases
from tests.factories import (
    OperationFactory,
    OperationItemFactory,
    SubscriptionFactory,
    SyncRunFactory,
    UserFactory,
    deeds,
)
from tests.operations.fleet import ASKER

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def running(**values: Any) -> SyncRun:
    """The run of a subscription that is syncing."""
    row = SubscriptionFactory(
        status=Status.SYNCING, due_at=None, lease_token=uuid.uuid4(), lease_expires_at=timezone.now() + MINUTE, **values
    )
    run: SyncRun = SyncRunFactory(subscription=row, running=True)
    return run


def test_it_asks_the_run_that_goes_on_and_says_so_in_the_log() -> None:
    run = running()

    stopping = stop(run.subscription_id, Asker(name="ann", source=Operation.Source.CONSOLE, user=UserFactory()))

    assert (stopping.subscription, stopping.run_id) == (run.subscription, run.pk)
    row = Subscription.objects.get()
    assert (row.status, row.stop_requested_at is not None) == (Status.SYNCING, True)
    assert deeds().get().text == "Asked the run to stop."
    stop(run.subscription_id, ASKER)  # a second time is no conflict: it goes on still


@pytest.mark.parametrize("values", [{}, {"failed": True}, {"synced": True}])
def test_where_no_run_goes_on_it_is_a_conflict(values: dict[str, bool]) -> None:
    row = SubscriptionFactory(**values)
    with pytest.raises(Refused) as refusal:
        stop(row.pk, ASKER)
    assert refusal.value.kind == "conflict"
    assert Subscription.objects.get().stop_requested_at is None
    assert not deeds().exists()


def test_a_run_that_was_not_meant_is_not_stopped() -> None:
    run = running()
    ended = SyncRunFactory(subscription=run.subscription)
    with pytest.raises(Refused) as refusal:
        stop(run.subscription_id, ASKER, run_id=ended.pk)
    assert refusal.value.kind == "conflict"
    assert Subscription.objects.get().stop_requested_at is None


def test_a_subscription_that_is_gone_is_not_found() -> None:
    with pytest.raises(Refused) as refusal:
        stop(uuid.uuid4(), ASKER)
    assert refusal.value.kind == "not_found"


@pytest.mark.parametrize("run_again", [False, True])
def test_a_stopped_run_whose_worker_died_does_not_begin_again(run_again: bool) -> None:
    stopped, lost = running(run_again=run_again), running()
    operation = OperationFactory(total=1, waiting=0, running=1)
    OperationItemFactory(
        operation=operation,
        subscription=stopped.subscription,
        status="running",
        released_at=timezone.now(),
        run_id=stopped.pk,
    )
    stop(stopped.subscription_id, ASKER)
    Subscription.objects.update(lease_expires_at=timezone.now() - MINUTE)

    assert end_expired_leases() == 2

    assert {run.pk: run.outcome for run in SyncRun.objects.all()} == {stopped.pk: "stopped", lost.pk: "interrupted"}
    row, other = (Subscription.objects.get(pk=run.subscription_id) for run in (stopped, lost))
    assert (row.status, row.stop_requested_at, other.status) == (Status.PENDING, None, Status.PENDING)
    assert row.due_at is not None
    assert (row.due_at > timezone.now()) != run_again, "what was asked for meanwhile runs"
    assert "Stopped by an operator" in row.last_error
    assert other.due_at is not None
    assert other.due_at <= timezone.now()
    operation.refresh_from_db()
    assert (operation.cancelled, operation.status) == (1, "finished")
