"""Cancelling, pausing and resuming an operation."""

import uuid

from syncsvc.exceptions import Refused
from syncsvc.models import Operation
from syncsvc.operations.asker import Asker
from syncsvc.operations.progress import publish
from syncsvc.operations.release import release
from syncsvc.store.operations import cancel_operation, pause_operation


def get_operation(operation_id: uuid.UUID) -> Operation:
    operation = Operation.objects.filter(id=operation_id).first()
    if operation is None:
        raise no_operation(operation_id)
    return operation


def no_operation(operation_id: uuid.UUID) -> Refused:
    return Refused("not_found", f"There is no operation {operation_id}; they are kept for a while after their end.")


def cancel(operation_id: uuid.UUID, asker: Asker) -> Operation:
    """Nothing that is not claimed will run; what runs finishes and counts. A second cancel changes nothing."""
    operation = get_operation(operation_id)
    if operation.status == Operation.Status.FINISHED:
        raise Refused("conflict", "The operation has finished already; there is nothing left to cancel.")
    return _changed(operation, cancel_operation(operation_id), asker, "Cancelled.")


def pause(operation_id: uuid.UUID, asker: Asker) -> Operation:
    """Releases no more until it is resumed; what runs finishes and counts."""
    operation = get_operation(operation_id)
    if operation.status not in (Operation.Status.RUNNING, Operation.Status.PAUSED):
        raise Refused("conflict", f"The operation is {operation.status}; only a running one can be paused.")
    return _changed(operation, pause_operation(operation_id, f"Paused by {asker.name}."), asker, "Paused.")


def resume(operation_id: uuid.UUID, asker: Asker) -> Operation:
    operation = get_operation(operation_id)
    if operation.status not in (Operation.Status.RUNNING, Operation.Status.PAUSED):
        raise Refused("conflict", f"The operation is {operation.status}; only a paused one can be resumed.")
    resumed = _changed(operation, Operation.objects.resume(operation_id), asker, "Resumed.")
    release(operation_id)
    return resumed


def _changed(operation: Operation, changed: bool, asker: Asker, text: str) -> Operation:
    if changed:
        asker.log(operation, text)
        publish(operation.id)
    return get_operation(operation.id)
