"""Retrying, or re-syncing, one subscription."""

import uuid
from dataclasses import dataclass

from django.db import transaction

from syncsvc import wakeup
from syncsvc.exceptions import Refused
from syncsvc.models import App, Status, Subscription, SyncRun, Trigger
from syncsvc.models.status import HELD
from syncsvc.operations.asker import Asker
from syncsvc.store import ledger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.words import counted

RETRY_IN_PROGRESS = "A retry is already in progress"
SYNC_IN_PROGRESS = "A sync is already in progress"
HELD_NO_MORE = "It is not held at that commit any more; look at it again."


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
    return Queued(subscription, _note_of(subscription.app))


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


def send_again(subscription_id: uuid.UUID, path: bytes, asker: Asker) -> Queued:
    """Forgets that the app has one file and asks for a run: the present version is sent, or that it is gone.

    Refused: `conflict` while a run goes on, whose ledger it is; `paused`; `not_found`.
    """
    subscription = _get(subscription_id)
    only = Subscription.objects.filter(id=subscription_id)
    with transaction.atomic():
        # From here on no run begins until the commit; and none that goes on takes the ledger for clean at its end.
        if not only.exclude(status=Status.SYNCING).update(clean_snapshot=None):
            raise Refused("conflict", SYNC_IN_PROGRESS)
        ledger.forget(subscription_id, path)
        ask_for_runs(only, Trigger.SYNC, asked_by=asker.name)
        asker.log(subscription, f"Sending again asked for: {path.decode(errors='backslashreplace')[:500]}")
    return Queued(subscription)


def held_run(subscription: Subscription) -> SyncRun | None:
    """The run whose mass delete waits for somebody's approval."""
    if not subscription.is_held:
        return None
    return subscription.runs.filter(outcome=SyncRun.Outcome.HELD).first()


def allow_deletes(subscription_id: uuid.UUID, held_id: uuid.UUID, asker: Asker) -> Queued:
    """Lets out, once, the deletes of the run that is held, at its commit, or no more of them at a newer one.

    Refused: `conflict` where another run is held by now, or none; `paused`; `not_found`.
    """
    subscription = _get(subscription_id)
    held = held_run(subscription)
    if held is None or held.id != held_id:
        raise Refused("conflict", HELD_NO_MORE)
    still = Subscription.objects.filter(HELD, id=subscription_id)
    with transaction.atomic():
        if not still.update(approved_commit=held.to_commit, approved_deletes=held.deleted):
            raise Refused("conflict", HELD_NO_MORE)
        if not Subscription.objects.retry(subscription_id, asked_by=asker.name):
            raise Refused("conflict", RETRY_IN_PROGRESS)
        _wake(subscription, asker, f"Allowance of {counted(held.deleted, 'delete')} at {held.to_commit[:12]}")
    return Queued(subscription)


def _note_of(app: App) -> str:
    """The effect of a retry on an endpoint that is left alone."""
    if app.circuit_opened_at is not None:
        return "The endpoint's circuit is open; a retry probes it now."
    return "The endpoint asked for fewer requests; a retry sends one now." if app.is_throttled else ""


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
