"""Letting an operation go on: skip what needs no run, release as many as its window has room for, wake workers."""

import uuid

import structlog
from django.db import transaction

from syncsvc import wakeup
from syncsvc.models import Operation
from syncsvc.operations.progress import publish

logger = structlog.get_logger(__name__)


def release(operation_id: uuid.UUID) -> int:
    """Called when an operation starts or is resumed, when one of its items settles, and by the sweep; how many."""
    with transaction.atomic():
        Operation.objects.skip_unfit(operation_id)
        released = Operation.objects.release(operation_id)
        wakeup.wake_runs(released, lane="bulk")
    publish(operation_id)
    return len(released)


def go_on(operation_id: uuid.UUID) -> None:
    """After an item has settled."""
    _pause_where_too_much_fails(operation_id)
    release(operation_id)


def sweep_operations() -> None:
    """Mends lost wake-ups, and releases what had to wait for another run, a cool-down or another operation."""
    running = Operation.objects.filter(status=Operation.Status.RUNNING, waiting__gt=0)
    for operation_id in running.values_list("id", flat=True):
        release(operation_id)


def _pause_where_too_much_fails(operation_id: uuid.UUID) -> None:
    operation = Operation.objects.filter(id=operation_id, abort_percent__isnull=False).first()
    if operation is None or operation.status != Operation.Status.RUNNING:
        return
    first = min(operation.abort_first, operation.total)
    percent = operation.abort_percent or 0
    if operation.succeeded + operation.failed >= first and operation.failed * 100 > percent * first:
        reason = f"Paused by itself: {operation.failed} of the first {operation.succeeded + operation.failed} failed."
        if Operation.objects.pause(operation_id, reason):
            logger.warning("operation.paused", operation=str(operation_id), failed=operation.failed)
