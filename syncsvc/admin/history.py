"""Pages of what has happened: read only, and answered in seconds however much there is."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import OperationalError, models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from psycopg.errors import QueryCanceled

from syncsvc.admin.bounded import BoundedList
from syncsvc.admin.buttons import ButtonsMixin
from syncsvc.admin.paging import CappedPaginator
from syncsvc.store.statements import limit_statements

QUERY_SECONDS = 5


class HistoryList(BoundedList):
    """Says nowhere that there are exactly 10,000 rows: the number stands below the list alone, with its plus."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count


class HistoryAdmin(ButtonsMixin):
    """Rows are written by runs alone: nobody adds, changes or deletes one here."""

    actions = None
    list_max_show_all = 0
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return HistoryList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A filter that would read millions of rows for an answer is given up, and says so."""
        try:
            with transaction.atomic():
                limit_statements(QUERY_SECONDS)
                response = super().changelist_view(request, extra_context)
                return response.render() if hasattr(response, "render") else response
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled) or not request.GET:
                raise
        text = f"That would have taken over {QUERY_SECONDS} seconds. Choose a subscription, or a shorter time."
        messages.warning(request, text)
        return HttpResponseRedirect(request.path)
