"""An operation's items, page by page, by cursor."""

import uuid
from typing import NamedTuple

from syncsvc.exceptions import Refused
from syncsvc.models import OperationItem

PAGE = 500


class Page(NamedTuple):
    """`next` is the cursor of the page that follows; None where this is the last."""

    items: list[OperationItem]
    next: str | None


def items_after(
    operation_id: uuid.UUID, cursor: str | None = None, *, size: int = PAGE, status: str = "", error_kind: str = ""
) -> Page:
    """In the order of their freezing, from the first or from a cursor that a page gave; status and kind narrow it."""
    found = OperationItem.objects.filter(operation_id=operation_id).order_by("id")
    if status:
        found = found.filter(status=status)
    if error_kind:
        found = found.filter(error_kind=error_kind)
    if cursor:
        found = found.filter(id__gt=_last_seen(cursor))
    items = list(found[: size + 1])
    return Page(items[:size], str(items[size - 1].id) if len(items) > size else None)


def _last_seen(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise Refused("invalid", "The cursor is not one of ours; leave it out to begin with the first page.")
    return int(cursor)
