"""Filters beside the lists that neither list nor count thousands of things."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.filters import FieldListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import urlencode

from syncsvc.ids import uuid_of
from syncsvc.models import Subscription
from syncsvc.models.status import ACTIVE

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
        conditions = {"1": ~ACTIVE, "0": ACTIVE}
        return queryset.filter(conditions.get(self.value() or "", Q()))


class AutocompleteFilter(FieldListFilter):
    """A related row, named or found by typing: a list of thousands of links would be neither readable nor fast.

    The address may hold its id or its name.
    """

    template = "admin/syncsvc/autocomplete_filter.html"

    def __init__(self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str):
        self.parameter = f"{field_path}__exact"
        self._suggestions = {
            "app_label": model._meta.app_label,
            "model_name": model._meta.model_name,
            "field_name": field_path,
        }
        super().__init__(field, request, params, model, model_admin, field_path)
        self.title = field.verbose_name

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter]

    def has_output(self) -> bool:
        return True

    @property
    def value(self) -> str:
        values = self.used_parameters.get(self.parameter) or [""]
        return str(values[-1] if isinstance(values, list) else values).strip()

    @cached_property
    def chosen(self) -> Any:
        """The row, or None where there is no such one."""
        related: Any = self.field.related_model
        rows: QuerySet[Any] = related._default_manager.all()
        if row_id := uuid_of(self.value):
            return rows.filter(pk=row_id).first()
        return rows.filter(_named(rows.model, self.value)).first() if self.value else None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value:
            return queryset
        row_id = uuid_of(self.value) or (self.chosen and self.chosen.pk)
        return queryset.filter(**{self.field_path: row_id}) if row_id else queryset.none()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """One choice: the form, with what else is chosen in hidden fields."""
        others = {name: values for name, values in changelist.filter_params.items() if name != self.parameter}
        yield {
            "name": self.parameter,
            "text": str(self.chosen) if self.chosen else self.value,
            "id": self.chosen.pk if self.chosen else "",
            "suggestions": f"{reverse('admin:autocomplete')}?{urlencode(self._suggestions)}",
            "hidden": [(name, value) for name, values in others.items() for value in _listed(values)],
            "everything": changelist.get_query_string(remove=[self.parameter]) if self.value else "",
        }


def _named(model: type[Model], name: str) -> Q:
    if model is not Subscription:
        return Q(name=name) if any(field.name == "name" for field in model._meta.fields) else Q(pk=None)
    app, _, repository = name.partition("/")
    return Q(app__name=app, repository__name=repository)


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]
