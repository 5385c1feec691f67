"""Lists of tables with millions of rows: nothing is counted beyond 10,000, and a late page costs little."""

from typing import Any

from django.core.paginator import Page
from django.db.models import QuerySet
from django.utils.functional import cached_property

from syncsvc.admin.bases import RowPaginator

CAP = 10_000


def capped_count(rows: QuerySet[Any]) -> int:
    """The number of rows; CAP + 1 says that there are more."""
    return rows.order_by()[: CAP + 1].count()


def capped_text(count: int) -> str:
    return f"{CAP:,}+" if count > CAP else f"{count:,}"


class IdsFirstPaginator(RowPaginator):
    """Of a late page the ids first: rows that are skipped are not joined with what nobody will see."""

    object_list: QuerySet[Any]

    def page(self, number: int | str) -> "Page[Any]":
        number = self.validate_number(number)
        if number == 1:
            return super().page(number)
        first = (number - 1) * self.per_page
        ids = self.object_list.values_list("pk", flat=True)[first : min(first + self.per_page, self.count)]
        rows = self.object_list.filter(pk__in=list(ids))
        return Page(rows, number, self)


class CappedPaginator(IdsFirstPaginator):
    """The first 10,000 rows in pages; whoever wants later ones filters."""

    @cached_property
    def count(self) -> int:
        return min(self._found, CAP)

    @property
    def count_text(self) -> str:
        return capped_text(self._found)

    @cached_property
    def _found(self) -> int:
        return capped_count(self.object_list)
