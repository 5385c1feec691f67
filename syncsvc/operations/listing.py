"""Operations and their items as scripts read them: documents in pages, by cursor."""

import uuid
from typing import Any

from django.db.models import Q

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem

PAGE = 100
PAGE_MAX = 1000


def operation_document(operation: Operation) -> dict[str, Any]:
    """Everything that is known of it; the counts are those of its row."""
    counts = ("total", "completed", "succeeded", "failed", "skipped", "cancelled", "waiting", "running", "files")
    told = ("kind", "status", "asked_by", "source", "reason", "max_running", "abort_percent", "created_at")
    return {
        "operation_id": operation.id,
        "scope": operation.scope_text,
        "retries": operation.retries_id,
        "finished_at": operation.finished_at,
        **{name: getattr(operation, name) for name in (*told, *counts)},
    }


def operations_page(*, after: uuid.UUID | None = None, limit: int = PAGE) -> tuple[list[dict[str, Any]], str | None]:
    """The newest first; `after` is the last one of the page before. With the cursor of the next page, if there is one.

    Refused: `not_found` where the cursor's operation is gone.
    """
    operations = Operation.objects.order_by("-created_at", "-id")
    if after is not None:
        last = Operation.objects.filter(id=after).values_list("created_at", flat=True).first()
        if last is None:
            raise Refused("not_found", f"There is no operation {after} to go on after; begin at the first page.")
        operations = operations.filter(Q(created_at__lt=last) | Q(created_at=last, id__lt=after))
    found = list(operations[: limit + 1])
    following = str(found[limit - 1].id) if len(found) > limit else None
    return [operation_document(operation) for operation in found[:limit]], following


def items_page(
    operation_id: uuid.UUID, *, after: int | None = None, limit: int = PAGE, status: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """In the order in which they were frozen; `after` is the cursor that the page before gave."""
    items = OperationItem.objects.filter(operation_id=operation_id, id__gt=after or 0).order_by("id")
    if status:
        items = items.filter(status=status)
    found = list(items[: limit + 1])
    following = str(found[limit - 1].id) if len(found) > limit else None
    return [_item_document(item) for item in found[:limit]], following


def _item_document(item: OperationItem) -> dict[str, Any]:
    told = ("subscription_id", "app_id", "run_id", "status", "reason", "error_kind", "files", "settled_at")
    return {"subscription": str(item), **{name: getattr(item, name) for name in told}}
