"""Operations, page by page, by cursor."""

import uuid
from typing import NamedTuple

from django.db.models import Q

from syncsvc.exceptions import Refused
from syncsvc.models import Operation

PAGE = 50


class Page(NamedTuple):
    """`next` is the cursor of the page that follows; None where this is the last."""

    operations: list[Operation]
    next: uuid.UUID | None


def operations_after(cursor: uuid.UUID | None = None, *, size: int = PAGE) -> Page:
    """The newest first, from the first or from a cursor that a page gave."""
    found = Operation.objects.order_by("-created_at", "-id")
    if cursor is not None:
        last = Operation.objects.filter(id=cursor).values_list("created_at", flat=True).first()
        if last is None:
            raise Refused("not_found", f"There is no operation {cursor} to go on after; begin with the first page.")
        found = found.filter(Q(created_at__lt=last) | Q(created_at=last, id__lt=cursor))
    operations = list(found[: size + 1])
    return Page(operations[:size], operations[size - 1].id if len(operations) > size else None)
