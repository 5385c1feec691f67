"""Failed subscriptions that a change makes due: another endpoint, another remote, an app that is resumed."""

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.models import Status
from syncsvc.models.subscription import SubscriptionQuerySet


@transaction.atomic
def make_due(subscriptions: SubscriptionQuerySet) -> int:
    """Makes due now each subscription that waits for a later try; the sweep wakes workers. Returns their number.

    Nothing else of them changes: a run that fails again counts as the next try. Locks them in the order of their ids;
    their app is locked afterwards, as at the end of a run, and their repository before, as by a poll.
    """
    later = Q(due_at=None) | Q(due_at__gt=Now())
    waiting = subscriptions.filter(later, status__in=(Status.PENDING, Status.FAILED))
    return waiting.filter(id__in=waiting.in_order()).update(due_at=Now())
