"""An operation as scripts see it: one document for commands and API."""

from typing import Any

from syncsvc.models import Operation, OperationItem
from syncsvc.operations.progress import errors_by_kind, progress

PACE = ("items_per_second", "files_per_second", "seconds_left")


def operation_document(operation: Operation) -> dict[str, Any]:
    """From its row, which is the truth at this moment; the pace, where it still goes on, from Redis."""
    pace = None if operation.ended else progress(operation.id)
    return {
        "operation_id": operation.id,
        "kind": operation.kind,
        "status": operation.status,
        "reason": operation.reason or None,
        "scope": operation.scope_text,
        "asked_by": operation.asked_by,
        "source": operation.source,
        "total": operation.total,
        "completed": operation.completed,
        "succeeded": operation.succeeded,
        "failed": operation.failed,
        "skipped": operation.skipped,
        "cancelled": operation.cancelled,
        "waiting": operation.waiting,
        "running": operation.running,
        "files": operation.files,
        **{name: pace[name] if pace else None for name in PACE},
        "retries": operation.retries_id,
        "created_at": operation.created_at,
        "finished_at": operation.finished_at,
    }


def full_document(operation: Operation) -> dict[str, Any]:
    """The same with its errors by kind."""
    return {**operation_document(operation), "errors": errors_by_kind(operation.id) if operation.failed else []}


def item_document(item: OperationItem) -> dict[str, Any]:
    return {
        "subscription": str(item),
        "subscription_id": item.subscription_id,
        "status": item.status,
        "reason": item.reason or None,
        "error_kind": item.error_kind or None,
        "files": item.files,
    }
