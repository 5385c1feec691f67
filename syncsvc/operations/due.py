"""Failed subscriptions that a change makes due: another endpoint, another remote, an app that is resumed."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now, Random

from syncsvc.models import Status
from syncsvc.models.transitions import SubscriptionQuerySet

# Seconds over which the runs are spread, so that not all of them begin at once.
SPREAD = 5


def make_due(subscriptions: SubscriptionQuerySet) -> int:
    """Makes those that wait for a later try due within seconds; the sweep wakes workers for them. Returns their number.

    Nothing else of them changes: a run that fails again counts as the next try.
    """
    later = Q(due_at=None) | Q(due_at__gt=Now() + timedelta(seconds=SPREAD))
    waiting = subscriptions.filter(later, status__in=(Status.PENDING, Status.FAILED))
    with transaction.atomic():
        return waiting.filter(id__in=waiting.in_order()).update(due_at=Now() + Random() * timedelta(seconds=SPREAD))
