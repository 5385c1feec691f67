"""Lists of tables with millions of rows: nothing is counted beyond 10,000."""

from typing import Any

from django.db.models import QuerySet
from django.utils.functional import cached_property

from syncsvc.admin.bases import RowPaginator

CAP = 10_000


def capped_count(rows: QuerySet[Any]) -> int:
    """The number of rows; CAP + 1 says that there are more."""
    return rows.order_by()[: CAP + 1].count()


def capped_text(count: int) -> str:
    return f"{CAP:,}+" if count > CAP else f"{count:,}"


class CappedPaginator(RowPaginator):
    """The first 10,000 rows in pages; whoever wants later ones filters."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return min(self._found, CAP)

    @property
    def count_text(self) -> str:
        return capped_text(self._found)

    @cached_property
    def _found(self) -> int:
        return capped_count(self.object_list)
