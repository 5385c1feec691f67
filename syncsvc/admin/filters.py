"""Filters beside the lists that neither list nor count thousands of things."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.filters import FieldListFilter
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

PERIODS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


class WhenFilter(admin.SimpleListFilter):
    """In place of a date hierarchy, which reads every row of the period to find the days that have any."""

    title = "when"
    parameter_name = "when"
    column = "at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, f"Past {name}") for name in PERIODS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        period = PERIODS.get(self.value() or "")
        return queryset.filter(**{f"{self.column}__gte": Now() - period}) if period else queryset


def when(column: str) -> type[WhenFilter]:
    return type("WhenFilter", (WhenFilter,), {"column": column})


class PausedFilter(admin.SimpleListFilter):
    """Paused is what is not active, or belongs to something that is not."""

    title = "paused"
    parameter_name = "paused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Paused"), ("0", "Active")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        active = Q(is_active=True, app__is_active=True, repository__is_active=True)
        conditions = {"1": ~active, "0": active}
        return queryset.filter(conditions.get(self.value() or "", Q()))


class AutocompleteFilter(FieldListFilter):
    """A related row, found by typing: a list of thousands of links would be neither readable nor fast."""

    template = "admin/syncsvc/autocomplete_filter.html"

    def __init__(self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str):
        self.parameter = f"{field_path}__exact"
        self._admin_site = model_admin.admin_site
        super().__init__(field, request, params, model, model_admin, field_path)
        self.title = field.verbose_name

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter]

    def has_output(self) -> bool:
        return True

    @property
    def value(self) -> str:
        values = self.used_parameters.get(self.parameter) or [""]
        return str(values[-1] if isinstance(values, list) else values)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """One choice: the form, with what else is chosen in hidden fields."""
        others = {name: values for name, values in changelist.filter_params.items() if name != self.parameter}
        yield {
            "widget": self._widget(),
            "hidden": [(name, value) for name, values in others.items() for value in _listed(values)],
            "everything": changelist.get_query_string(remove=[self.parameter]) if self.value else "",
        }

    def _widget(self) -> str:
        remote: Any = self.field.remote_field
        rows = self._admin_site.get_model_admin(remote.model).get_queryset(self.request)
        widget = AutocompleteSelect(self.field, self._admin_site)
        widget.is_required = False
        widget.choices = forms.ModelChoiceField(rows, widget=widget, required=False).choices
        return widget.render(self.parameter, self.value, {"aria-label": f"By {self.title}"})


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]
