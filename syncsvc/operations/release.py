"""Letting an operation go on: skip what needs no run, release as many as its window has room for, wake workers."""

import uuid
from datetime import timedelta
from functools import reduce
from operator import or_

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc import wakeup
from syncsvc.models import Operation, OperationItem, Subscription
from syncsvc.operations.progress import publish
from syncsvc.store.operations import (
    lock_operation,
    pause_operation,
    release_items,
    skip_unfit,
    take_back_left_alone,
)

logger = structlog.get_logger(__name__)

# Seconds for which the progress of an ended operation is written again: the process that settled its last item may
# have died before it wrote.
PUBLISHED_AGAIN_SECONDS = 10

# Seconds after its release at which an item that nobody has claimed is knocked for again, each for about one sweep.
KNOCK_AGAIN_AT = (2, 10)
KNOCK_WITHIN = 1.5


def release(operation_id: uuid.UUID, *, look_at_all: bool = False) -> int:
    """Releases as many items as there is room for, and pauses instead where too many fail; how many.

    What needs no run is looked for where the window is not full; with `look_at_all` in any case, and places in the
    window are taken back from what must wait for long.
    """
    with transaction.atomic():
        operation = lock_operation(operation_id)
        if operation is None:
            return 0
        running = operation.status == Operation.Status.RUNNING
        changed = running and _fails_too_much(operation) and _pause(operation)
        if look_at_all:
            take_back_left_alone(operation_id)
        released, has_room = release_items(operation_id) if operation.waiting else ([], False)
        if (look_at_all or has_room) and skip_unfit(operation_id):
            changed = True
        wakeup.wake_for_released(subscription.repository_id for subscription in released)
    publish(operation_id, None if changed else operation)
    return len(released)


def go_on(operation: Operation) -> None:
    """After an item has settled, or waits again."""
    if operation.refills or _fails_too_much(operation):
        release(operation.id)
    else:
        publish(operation.id, operation)


def sweep_operations() -> None:
    """Mends what was lost on the way: wake-ups, progress; and releases what had to wait for something else."""
    wake_released()
    knock_again()
    for operation_id in Operation.objects.open().values_list("id", flat=True):
        release(operation_id, look_at_all=True)
    just_ended = Operation.objects.filter(finished_at__gt=Now() - timedelta(seconds=PUBLISHED_AGAIN_SECONDS))
    for operation_id in just_ended.values_list("id", flat=True):
        publish(operation_id)


def wake_released() -> int:
    """Wakes workers for what is released and has no wake-up on its way; how many."""
    with transaction.atomic():
        lost = list(
            Subscription.objects.released()
            .without_wake_up()
            .select_for_update(skip_locked=True, of=("self",), no_key=True)
            .only("id", "repository_id")[: settings.SWEEP_BATCH]
        )
        Subscription.objects.mark_queued(subscription.id for subscription in lost)
        wakeup.wake_for_released(subscription.repository_id for subscription in lost)
    return len(lost)


def knock_again() -> None:
    """Wakes one more worker for what was released some seconds ago and nobody has claimed.

    The wake-up may have gone to a process whose slots for bulk work all wait for slow endpoints, while another is idle.
    """
    ages = [
        Q(released_at__range=(Now() - timedelta(seconds=age + KNOCK_WITHIN), Now() - timedelta(seconds=age)))
        for age in KNOCK_AGAIN_AT
    ]
    unclaimed = OperationItem.objects.filter(reduce(or_, ages), status=OperationItem.Status.WAITING)
    repositories = unclaimed.order_by().values_list("subscription__repository_id", flat=True)
    found = {id for id in repositories[: settings.SWEEP_BATCH] if id}
    wakeup.wake_for_released(found)


def _fails_too_much(operation: Operation) -> bool:
    """Items that failed without a run, many at once because their endpoint is down, are no sample of the operation."""
    if not operation.fails_too_much:
        return False
    tried = OperationItem.objects.filter(operation=operation, status=OperationItem.Status.FAILED, run_id__isnull=False)
    return operation.is_too_much(tried.count())


def _pause(operation: Operation) -> bool:
    reason = f"Paused by itself: {operation.failed} of {operation.succeeded + operation.failed} failed."
    paused = pause_operation(operation.id, reason)
    if paused:
        logger.warning("operation.paused", operation=str(operation.id), failed=operation.failed)
    return paused
