"""Operations: how far they are, what came of each item, and cancelling, pausing, resuming."""

import uuid
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Body, Query, Router

from syncsvc.api.bulk import BULK_RETRY, Key, own_key, started
from syncsvc.api.callers import caller_of, needs
from syncsvc.api.schemas import (
    Again,
    Data,
    ErrorsShown,
    ItemsPage,
    ItemStatus,
    OperationDetail,
    OperationShown,
    OperationsPage,
    Progress,
    Started,
    wrapped,
)
from syncsvc.models import Operation
from syncsvc.models.token import TokenScope
from syncsvc.operations import bulk, control
from syncsvc.operations.document import full_document, item_document, operation_document
from syncsvc.operations.items import items_after
from syncsvc.operations.listing import operations_after
from syncsvc.operations.progress import errors_by_kind, progress

router = Router(tags=["operations"])

READ = needs("view_operation", TokenScope.READ)
CANCEL = needs("cancel_operation", TokenScope.CANCEL)
STOPPED = {Operation.Status.CANCELLING, Operation.Status.CANCELLED}
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before.")]


@router.get("retry/progress/{operation_id}", response=Data[Progress], auth=READ)
def retry_progress(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """Live counts of a retry or a re-sync; here alone `cancelled` says whether, and `cancelled_count` how many."""
    counts = progress(operation_id)
    if counts is None:
        raise control.no_operation(operation_id)
    return wrapped({**counts, "cancelled": counts["status"] in STOPPED, "cancelled_count": counts["cancelled"]})


@router.post("retry/cancel/{operation_id}", response=Data[OperationShown], auth=CANCEL)
def retry_cancel(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """The same as `operations/{operation_id}/cancel`."""
    return wrapped(operation_document(control.cancel(operation_id, caller_of(request).asker)))


@router.get("operations", response=Data[OperationsPage], auth=READ)
def operations(request: HttpRequest, after: uuid.UUID | None = None, limit: Limit = 50) -> dict[str, Any]:
    """The newest first."""
    page = operations_after(after, size=limit)
    return wrapped({"operations": [operation_document(one) for one in page.operations], "next": page.next})


@router.get("operations/{operation_id}", response=Data[OperationDetail], auth=READ)
def operation(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """One operation, with the reasons for which its waiting items wait."""
    return wrapped(full_document(control.get_operation(operation_id)))


@router.get("operations/{operation_id}/items", response=Data[ItemsPage], auth=READ)
def items(
    request: HttpRequest,
    operation_id: uuid.UUID,
    after: Cursor = None,
    limit: Limit = 500,
    status: ItemStatus | None = None,
) -> dict[str, Any]:
    """What came of each subscription."""
    page = items_after(control.get_operation(operation_id).id, after, size=limit, status=status or "")
    return wrapped({"items": [item_document(item) for item in page.items], "next": page.next})


@router.get("operations/{operation_id}/errors", response=Data[ErrorsShown], auth=READ)
def errors(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """How many items failed of which kind, most first, each with one message."""
    return wrapped({"errors": errors_by_kind(control.get_operation(operation_id).id)})


@router.post("operations/{operation_id}/cancel", response=Data[OperationShown], auth=CANCEL)
def cancel(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """Nothing that is not running yet will run; what runs finishes and counts."""
    return wrapped(operation_document(control.cancel(operation_id, caller_of(request).asker)))


@router.post("operations/{operation_id}/pause", response=Data[OperationShown], auth=CANCEL)
def pause(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """Begins no more runs until it is resumed."""
    return wrapped(operation_document(control.pause(operation_id, caller_of(request).asker)))


@router.post("operations/{operation_id}/resume", response=Data[OperationShown], auth=CANCEL)
def resume(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    """Goes on where it was paused."""
    return wrapped(operation_document(control.resume(operation_id, caller_of(request).asker)))


@router.post("operations/{operation_id}/retry-failed", response=Data[Started], auth=BULK_RETRY)
def retry_failed(
    request: HttpRequest, operation_id: uuid.UUID, options: Annotated[Again | None, Body()] = None, key: Key = None
) -> dict[str, Any]:
    """A new operation over what failed in an ended one and is still not synced."""
    caller = caller_of(request)
    ended = control.get_operation(operation_id)
    options = options or Again()
    operation = bulk.retry_failed_of(
        ended,
        caller.asker,
        typed_count=options.confirm_count,
        idempotency_key=own_key(caller, key),
        max_running=options.max_running,
        abort_percent=options.abort_percent,
    )
    return started(operation, as_asked=operation.retries_id == operation_id)
