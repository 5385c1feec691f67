"""*Stop this run*: a run that goes on sends nothing more."""

import uuid
from dataclasses import dataclass

from django.db import transaction

from syncsvc.exceptions import Refused
from syncsvc.models import Status, Subscription, SyncRun
from syncsvc.operations.asker import Asker


@dataclass(frozen=True, slots=True)
class Stopping:
    """The run that was asked to stop, and its subscription."""

    subscription: Subscription
    run_id: uuid.UUID


def stop(subscription_id: uuid.UUID, asker: Asker, *, run_id: uuid.UUID | None = None) -> Stopping:
    """Asks the run that goes on to stop, which it does within seconds; what the app has acknowledged stays booked.

    The subscription then waits for its next change, a retry or its slow try, and the item of an operation is
    cancelled. With `run_id` only that run is stopped, and no later one. Refused: `conflict` where no run goes on, or
    another one; `not_found`.
    """
    found = Subscription.objects.filter(id=subscription_id)
    with transaction.atomic():
        subscription = found.select_related("app", "repository").select_for_update(of=("self",), no_key=True).first()
        if subscription is None:
            raise Refused("not_found", f"There is no subscription {subscription_id}.")
        run = running(subscription)
        if run is None or run_id not in (None, run.pk):
            raise Refused("conflict", no_run_text(subscription, run))
        if not found.request_stop():
            raise Refused("conflict", no_run_text(subscription, None))
        asker.log(subscription, "Asked the run to stop.")
    return Stopping(subscription, run.pk)


def running(subscription: Subscription) -> SyncRun | None:
    """The run that goes on; None where there is none."""
    if subscription.status != Status.SYNCING:
        return None
    return subscription.runs.filter(outcome="").first()


def no_run_text(subscription: Subscription, other: SyncRun | None) -> str:
    if other is not None:
        return f"That run of {subscription} has ended, and another one goes on; nothing was stopped."
    return f"No run of {subscription} goes on; nothing was stopped."
