"""Asking for runs: what a poll, a push and the command `sync` do. Never a conflict."""

from django.db import transaction

from syncsvc import wakeup
from syncsvc.models import Trigger
from syncsvc.models.subscription import SubscriptionQuerySet


def ask_for_runs(
    subscriptions: SubscriptionQuerySet, trigger: Trigger, *, asked_by: str = "", allow_deletes: bool = False
) -> int:
    """Asks for a run of each and wakes workers after commit; how many wake-ups that took.

    A subscription that is queued joins that run; one that is syncing runs again; a paused one runs when it is resumed.
    """
    with transaction.atomic():
        wake = subscriptions.request(trigger, asked_by=asked_by, allow_deletes=allow_deletes)
        wakeup.wake_runs(wake)
    return len(wake)
