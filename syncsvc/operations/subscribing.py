"""Letting an app follow a repository."""

from django.db import transaction

from syncsvc.models import Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs


@transaction.atomic
def subscribe(subscription: Subscription, *, asked_by: str = "") -> None:
    """Saves a new subscription, which has been validated, and asks for its first run."""
    subscription.save(force_insert=True)
    ask_for_runs(Subscription.objects.filter(pk=subscription.pk), Trigger.SUBSCRIBED, asked_by=asked_by)
