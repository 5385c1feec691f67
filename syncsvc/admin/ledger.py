"""The ledger: which version of each file an app has acknowledged, and where an answer is missing."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.admin.again import SendAgain
from syncsvc.admin.cells import badge, commit_cell, link, list_link, moment, path_cell, path_text
from syncsvc.admin.filters import AutocompleteFilter
from syncsvc.admin.search import path_bytes, path_prefix, within_subscription
from syncsvc.models import DeliveredFile, DeliveryAttempt


class DoubtFilter(admin.SimpleListFilter):
    title = "in doubt"
    parameter_name = "doubt"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "In doubt")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(doubt_id__isnull=False) if self.value() else queryset


@admin.register(DeliveredFile)
class DeliveredFileAdmin(SendAgain):
    list_display = ("path_end", "subscription_link", "state", "mode", "short_blob", "delivered")
    list_filter = (("subscription", AutocompleteFilter), DoubtFilter)
    list_select_related = ("subscription__app", "subscription__repository")
    # The order of its index; the model's own would sort the whole table by names.
    ordering = ("subscription_id", "path")
    sortable_by = ()
    search_fields = ("path",)
    search_help_text = "With a subscription chosen: the beginning of a path."
    fields = readonly_fields = (
        "subscription_link",
        "full_path",
        "state",
        "mode",
        "blob",
        "epoch",
        "delivered",
        "doubt_id",
        "doubt_mode",
        "doubt_blob",
        "doubt_epoch",
        "attempts",
    )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        term = search_term.strip()
        if not term:
            return queryset, False
        if not within_subscription(request):
            return queryset.none(), False
        return queryset.filter(path_prefix(path_bytes(term.removesuffix("*")))), False

    @admin.display(description="path")
    def path_end(self, file: DeliveredFile) -> str:
        return path_cell(file.path)

    @admin.display(description="path")
    def full_path(self, file: DeliveredFile) -> str:
        return format_html('<code class="path">{}</code>', path_text(file.path))

    @admin.display(description="subscription")
    def subscription_link(self, file: DeliveredFile) -> str:
        return link(file.subscription)

    @admin.display(description="state")
    def state(self, file: DeliveredFile) -> str:
        if file.in_doubt:
            return badge("In doubt", "warn")
        forgotten = file.epoch < file.subscription.epoch
        return badge("To be sent again", "quiet") if forgotten else badge("Acknowledged", "good")

    @admin.display(description="blob")
    def short_blob(self, file: DeliveredFile) -> str:
        return commit_cell(file.blob)

    @admin.display(description="attempts")
    def attempts(self, file: DeliveredFile) -> str:
        only = {"subscription__exact": file.subscription_id, "q": path_text(file.path)}
        return list_link(DeliveryAttempt, "Attempts to send it", only)

    @admin.display(description="acknowledged")
    def delivered(self, file: DeliveredFile) -> str:
        return moment(file.delivered_at)
