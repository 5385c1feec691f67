"""Attempts: every HTTP request that was made, and its answer."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from syncsvc.admin.again import SendAgain
from syncsvc.admin.badges import attempt_badge
from syncsvc.admin.cells import NOTHING, block, link, moment, path_cell, path_text
from syncsvc.admin.filters import AutocompleteFilter, when
from syncsvc.admin.panels import Panel
from syncsvc.admin.search import path_bytes, path_prefix, within_subscription
from syncsvc.ids import uuid_of
from syncsvc.models import DeliveredFile, DeliveryAttempt
from syncsvc.models.attempt import ANSWER_BYTES
from syncsvc.words import counted

KINDS = ("created", "updated", "deleted", "batch", "sync.failed")


class KindFilter(admin.SimpleListFilter):
    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(SendAgain):
    change_form_template = "admin/syncsvc/attempt.html"
    panels: ClassVar = {"place": Panel(uses_page=True)}
    list_display = ("what", "subscription_link", "path_end", "result", "took", "when")
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
        "header_names",
        "result",
        "milliseconds",
        "error",
        "answer_text",
        "when",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related(*self.list_select_related, "run")
        return rows

    def beside(self, request: HttpRequest, row: DeliveryAttempt) -> dict[str, Any]:
        subscription, answer = row.subscription, bytes(row.answer)
        files = DeliveredFile.objects.filter(subscription=subscription)
        file = None if row.path is None else files.filter(path=row.path).first()
        return {
            "file": file,
            "forgotten": file is not None and file.epoch < subscription.epoch,
            "of_file": self._listed(row, path_text(row.path or b"")),
            "of_id": self._listed(row, row.webhook_id),
            "answer": answer.decode(errors="backslashreplace"),
            "cut": len(answer) >= ANSWER_BYTES,
        }

    def _listed(self, row: DeliveryAttempt, term: str) -> str:
        query = urlencode({"subscription__exact": str(row.subscription_id), "q": term})
        return f"{reverse('admin:syncsvc_deliveryattempt_changelist')}?{query}"

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
        return f"{attempt.kind} ({counted(attempt.files, 'file')})" if attempt.files > 1 else attempt.kind

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
        return attempt_badge(attempt)

    @admin.display(description="answer")
    def answer_text(self, attempt: DeliveryAttempt) -> str:
        return block(bytes(attempt.answer).decode(errors="backslashreplace"))

    @admin.display(description="took")
    def took(self, attempt: DeliveryAttempt) -> str:
        return f"{attempt.milliseconds:,} ms"

    @admin.display(description="when")
    def when(self, attempt: DeliveryAttempt) -> str:
        return moment(attempt.at)
