"""Attempts: every HTTP request that was made, and its answer."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.admin.cells import NOTHING, badge, block, link, moment, path_cell, path_text
from syncsvc.admin.filters import AutocompleteFilter, when
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.search import path_bytes, path_prefix, uuid_of, within_subscription
from syncsvc.models import DeliveryAttempt

KINDS = ("created", "updated", "deleted", "batch", "sync.failed")


class KindFilter(admin.SimpleListFilter):
    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(HistoryAdmin):
    list_display = ("what", "subscription_link", "path_end", "result", "milliseconds", "when")
    list_filter = (("subscription", AutocompleteFilter), when("at"), KindFilter, "error_kind")
    list_select_related = ("subscription__app", "subscription__repository")
    sortable_by = ()
    search_fields = ("path",)
    search_help_text = (
        "A run's id; or, with a subscription chosen, a webhook id, a path, or a path's beginning ended by *."
    )
    fields = readonly_fields = (
        "subscription_link",
        "run",
        "kind",
        "full_path",
        "files",
        "webhook_id",
        "result",
        "milliseconds",
        "error",
        "answer_text",
        "when",
    )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (run_id := uuid_of(term)) and not request.GET.get("subscription__exact"):
            return queryset.filter(run=run_id), False
        if not within_subscription(request, ("subscription__exact", "run__exact")):
            return queryset.none(), False
        if term.endswith("*"):
            return queryset.filter(path_prefix(path_bytes(term[:-1]))), False
        return queryset.filter(Q(path=path_bytes(term)) | Q(webhook_id=term)), False

    @admin.display(description="attempt")
    def what(self, attempt: DeliveryAttempt) -> str:
        return f"{attempt.kind} ({attempt.files} files)" if attempt.files > 1 else attempt.kind

    @admin.display(description="subscription")
    def subscription_link(self, attempt: DeliveryAttempt) -> str:
        return link(attempt.subscription)

    @admin.display(description="path")
    def path_end(self, attempt: DeliveryAttempt) -> str:
        return path_cell(attempt.path)

    @admin.display(description="path")
    def full_path(self, attempt: DeliveryAttempt) -> str:
        return NOTHING if attempt.path is None else format_html('<code class="path">{}</code>', path_text(attempt.path))

    @admin.display(description="result")
    def result(self, attempt: DeliveryAttempt) -> str:
        if attempt.acknowledged:
            return badge(str(attempt.status), "good")
        status = attempt.status or "no answer"
        return format_html("{} {}", badge(str(status), "bad"), attempt.error_kind)

    @admin.display(description="answer")
    def answer_text(self, attempt: DeliveryAttempt) -> str:
        return block(bytes(attempt.answer).decode(errors="backslashreplace"))

    @admin.display(description="when")
    def when(self, attempt: DeliveryAttempt) -> str:
        return moment(attempt.at)
