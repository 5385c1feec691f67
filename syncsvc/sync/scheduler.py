"""What is due, from the database: the sweep that makes every lost message harmless."""

import uuid
from collections.abc import Callable, Sequence

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from syncsvc import wakeup
from syncsvc.models import Operation, Subscription, SyncRun
from syncsvc.store.operations import cancel_item, put_back_items

logger = structlog.get_logger(__name__)

STOPPED = "Stopped by an operator; its worker had died before it saw that."


def sweep() -> None:
    """One look at all runs that may be due. Any number of these may run at once. Workers look for due polls."""
    end_expired_leases()
    _until_done(wake_due_subscriptions)


def end_expired_leases() -> int:
    """Returns what dead workers left to pending, and ends their runs as interrupted; how many."""
    with transaction.atomic():
        over = Subscription.objects.lease_is_over()
        Operation.objects.lock_for(over)
        expired = Subscription.objects.expire(over)
        if expired:
            _end_stopped(expired)
            open_runs = SyncRun.objects.filter(subscription__in=expired, outcome="")
            put_back_items(list(open_runs.values_list("id", flat=True)))
            open_runs.update(outcome=SyncRun.Outcome.INTERRUPTED, finished_at=Now())
            logger.warning("sweep.leases_expired", subscriptions=len(expired))
    return len(expired)


def _end_stopped(expired: Sequence[uuid.UUID]) -> None:
    """Runs that an operator had stopped do not begin again because their workers died before they saw it."""
    stopped = Subscription.objects.stay_stopped(expired, error=STOPPED, delay=settings.RETRY_SLOW_SECONDS)
    runs = SyncRun.objects.filter(subscription__in=stopped, outcome="")
    for run_id in runs.values_list("id", flat=True):
        cancel_item(run_id, reason=STOPPED, files=0)
    runs.update(outcome=SyncRun.Outcome.STOPPED, finished_at=Now(), error=STOPPED)


def wake_due_subscriptions() -> int:
    """Wakes workers for at most SWEEP_BATCH subscriptions, the longest due first; how many."""
    with transaction.atomic():
        due = list(
            Subscription.objects.due()
            .select_for_update(skip_locked=True, of=("self",), no_key=True)
            .order_by("due_at")
            .only("id", "repository_id")[: settings.SWEEP_BATCH]
        )
        Subscription.objects.mark_queued(subscription.id for subscription in due)
        wakeup.wake_runs(due)
    return len(due)


def _until_done(wake: Callable[[], int]) -> None:
    while wake() == settings.SWEEP_BATCH:
        pass
