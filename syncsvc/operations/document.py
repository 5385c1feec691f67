"""An operation as scripts see it: one document for commands and API."""

from datetime import datetime
from typing import TypedDict
from uuid import UUID

from syncsvc.models import Operation, OperationItem
from syncsvc.operations.progress import NO_PACE, ErrorCount, Numbers, Pace, errors_by_kind, numbers_of, progress
from syncsvc.operations.waits import WaitsDocument, waits_of


class OperationDocument(Numbers, Pace):
    """`retries` is the operation whose failed items this one retries."""

    operation_id: UUID
    kind: str
    status: str
    reason: str | None
    scope: str
    asked_by: str
    source: str
    completed: int
    retries: UUID | None
    created_at: datetime
    finished_at: datetime | None


class FullDocument(OperationDocument):
    """`waits`: for what its waiting items wait."""

    errors: list[ErrorCount]
    waits: list[WaitsDocument]


class ItemDocument(TypedDict):
    subscription: str
    subscription_id: UUID | None
    status: str
    reason: str | None
    error_kind: str | None
    files: int


def operation_document(operation: Operation) -> OperationDocument:
    """From its row, which is the truth at this moment; the pace, where it still goes on, from Redis."""
    return {
        "operation_id": operation.id,
        "kind": operation.kind,
        "status": operation.status,
        "reason": operation.reason or None,
        "scope": operation.scope_text,
        "asked_by": operation.asked_by,
        "source": operation.source,
        **numbers_of(operation),
        "completed": operation.completed,
        **_pace_of(operation),
        "retries": operation.retries_id,
        "created_at": operation.created_at,
        "finished_at": operation.finished_at,
    }


def full_document(operation: Operation) -> FullDocument:
    """The document with the errors by kind, and the reasons for which waiting items wait."""
    errors = errors_by_kind(operation.id) if operation.failed else []
    return {**operation_document(operation), "errors": errors, "waits": waits_of(operation)}


def item_document(item: OperationItem) -> ItemDocument:
    return {
        "subscription": str(item),
        "subscription_id": item.subscription_id,
        "status": item.status,
        "reason": item.reason or None,
        "error_kind": item.error_kind or None,
        "files": item.files,
    }


def _pace_of(operation: Operation) -> Pace:
    known = None if operation.ended else progress(operation.id)
    if known is None:
        return NO_PACE
    return Pace(
        items_per_second=known["items_per_second"],
        files_per_second=known["files_per_second"],
        seconds_left=known["seconds_left"],
    )
