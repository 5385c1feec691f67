"""Retrying, or re-syncing, one subscription."""

import uuid
from dataclasses import dataclass

from django.db import transaction

from syncsvc import wakeup
from syncsvc.exceptions import Refused
from syncsvc.models import Status, Subscription
from syncsvc.operations.asker import Asker

RETRY_IN_PROGRESS = "A retry is already in progress"
SYNC_IN_PROGRESS = "A sync is already in progress"


@dataclass(frozen=True, slots=True)
class Queued:
    """`note` is something to know beside, or blank."""

    subscription: Subscription
    note: str = ""


def retry(subscription_id: uuid.UUID, asker: Asker) -> Queued:
    """Runs a failed subscription, or one that waits for its back-off, at once and as if it had never failed.

    Refused: `conflict` where it is queued or running, or has nothing to retry; `paused`; `not_found`.
    """
    subscription = _get(subscription_id)
    if subscription.status == Status.SYNCED:
        raise Refused("conflict", f"There is nothing to retry: {subscription} is synced. A re-sync sends all again.")
    with transaction.atomic():
        if not Subscription.objects.retry(subscription_id, asked_by=asker.name):
            raise Refused("conflict", RETRY_IN_PROGRESS)
        _wake(subscription, asker, "Retry")
    open_circuit = subscription.app.circuit_opened_at is not None
    return Queued(subscription, "The endpoint's circuit is open; a retry probes it now." if open_circuit else "")


def resync(subscription_id: uuid.UUID, asker: Asker) -> Queued:
    """Forgets what the app has, in one UPDATE however many files, and sends everything again.

    Refused: `conflict` where it is queued or running; `paused`; `not_found`.
    """
    subscription = _get(subscription_id)
    with transaction.atomic():
        if not Subscription.objects.resync(subscription_id, asked_by=asker.name):
            raise Refused("conflict", SYNC_IN_PROGRESS)
        _wake(subscription, asker, "Re-sync")
    return Queued(subscription)


def _get(subscription_id: uuid.UUID) -> Subscription:
    subscription = Subscription.objects.select_related("app", "repository").filter(id=subscription_id).first()
    if subscription is None:
        raise Refused("not_found", f"There is no subscription {subscription_id}.")
    if reason := pause_reason(subscription):
        raise Refused("paused", f"{reason} Resume it first.")
    return subscription


def pause_reason(subscription: Subscription) -> str:
    """Why it does not run; blank where it does."""
    if not subscription.app.is_active:
        why = f": {subscription.app.pause_reason}" if subscription.app.pause_reason else "."
        return f"The app {subscription.app.name} is paused{why}"
    if not subscription.repository.is_active:
        return f"The repository {subscription.repository.name} is paused."
    return "" if subscription.is_active else f"The subscription {subscription} is paused."


def _wake(subscription: Subscription, asker: Asker, what: str) -> None:
    asker.log(subscription, f"{what} asked for.")
    wakeup.wake_runs([subscription])
