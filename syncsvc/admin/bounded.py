"""Bounds on what the address of a list may ask for: words of a search, columns to order by, comparisons."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import smart_split

from syncsvc.admin.bases import ModelAdmin

MOST_WORDS = 20  # of a search: each is a condition on each searched column
MOST_CHARACTERS = 2_000  # of a search: a path has at most as many
MOST_COLUMNS = 8  # to order by
# What filters of lists and links to them use. Others read a value letter by letter, or cost the database minutes.
COMPARISONS = frozenset({"exact", "in", "isnull"})


class SearchForm(forms.Form):
    """Django's own, with a limit; a search beyond it finds its error above the whole list."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=MOST_CHARACTERS)


class BoundedList(ChangeList):
    search_form_class = SearchForm

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Keeps the first columns: each of thousands would be one more expression in the statement."""
        if columns := self.params.get(ORDER_VAR, ""):
            self.params[ORDER_VAR] = ".".join(columns.split(".", MOST_COLUMNS)[:MOST_COLUMNS])
        return super().get_ordering(request, queryset)


class BoundedMixin(ModelAdmin):
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return is_plain(self.model, lookup) and super().lookup_allowed(lookup, value, request)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        if sum(1 for _ in smart_split(search_term[: MOST_CHARACTERS + 1])) <= MOST_WORDS:
            return super().get_search_results(request, queryset, search_term[:MOST_CHARACTERS])
        if request.path != reverse("admin:autocomplete"):
            messages.error(request, f"A search may have {MOST_WORDS} words; leave some out.")
        return queryset.none(), False


def is_plain(model: type[Model], lookup: str) -> bool:
    """Whether the lookup compares a column of this or of a related model in one of COMPARISONS, or names no column."""
    name, *rest = lookup.split(LOOKUP_SEP)
    try:
        field = model._meta.get_field(name) if name != "pk" else model._meta.pk
    except FieldDoesNotExist:  # of a filter with a name of its own
        return True
    if not rest or (len(rest) == 1 and rest[0] in COMPARISONS):
        return True
    related = getattr(field, "related_model", None)
    return related is not None and rest[0] not in COMPARISONS and is_plain(related, LOOKUP_SEP.join(rest))
