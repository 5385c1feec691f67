"""Bulk operations: how far each is, what came out, and what can be done with it."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from syncsvc.admin import operation_page
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button, Confirmation
from syncsvc.admin.cells import badge, list_link, moment
from syncsvc.admin.confirm import Question, confirm
from syncsvc.admin.filters import when
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.operation_bar import bar_of
from syncsvc.admin.tones import tone_of_operation
from syncsvc.exceptions import Refused
from syncsvc.ids import uuid_of
from syncsvc.models import Operation, OperationItem
from syncsvc.operations import control
from syncsvc.operations.asker import Asker
from syncsvc.operations.progress import progress_of
from syncsvc.operations.scope import Scope
from syncsvc.operations.summary import bulk_name, completed_text
from syncsvc.words import counted

GOING_ON = 20  # shown above the list; there is hardly ever more than one
PAGES = {"p"}
CANCEL = Button(
    "cancel",
    "Cancel remaining",
    "Nothing more begins; what runs ends and counts",
    "cancel_operation",
    confirms="ask_cancel",
    in_place=True,
    failed="Failed to cancel",
)
PAUSE = Button(
    "pause",
    "Pause",
    "Nothing more begins until it is resumed",
    "cancel_operation",
    in_place=True,
    failed="Failed to pause",
)
RESUME = Button("resume", "Resume", "Go on", "cancel_operation", in_place=True, tone="main", failed="Failed to resume")
RETRY = Button(
    "retry_failed",
    "Retry what failed",
    "A new operation over what failed in this one",
    "bulk_retry",
    confirms="retry_failed",
    failed="Failed to start bulk retry",
)


@admin.register(Operation)
class OperationAdmin(HistoryAdmin):
    buttons = (CANCEL, PAUSE, RESUME, RETRY)
    list_display = ("__str__", "state", "bar", "outcome", "asked_by", "created")
    list_filter = ("status", "kind", when("created_at"), "source")
    search_fields = ("scope_text", "asked_by")
    search_help_text = "An operation's id, or part of what it is about, or of who asked."
    sortable_by = ("created",)
    change_form_template = operation_page.TEMPLATE
    panels = operation_page.PANELS
    change_list_template = "admin/syncsvc/operations.html"

    def get_fieldsets(self, request: HttpRequest, obj: Operation | None = None) -> Any:
        return []  # its page is made of panels alone

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """What goes on stands above the list, which then has what has ended; a filter or a search finds either."""
        rows: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        whole_list = (
            match is not None and match.url_name == "syncsvc_operation_changelist" and not set(request.GET) - PAGES
        )
        return rows.filter(finished_at__isnull=False) if whole_list else rows

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        going_on = Operation.objects.open().order_by("created_at")[:GOING_ON]
        shown = [] if set(request.GET) - PAGES else [(row, bar_of(row)) for row in going_on]
        return super().changelist_view(
            request, {"going_on": shown, "more": len(shown) == GOING_ON, **(extra_context or {})}
        )

    def beside(self, request: HttpRequest, row: Operation) -> dict[str, Any]:
        return {"retried_by": list(row.retried_by.order_by("created_at")[:GOING_ON]) if row.ended else []}

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        if operation_id := uuid_of(search_term):
            return queryset.filter(pk=operation_id), False
        return super().get_search_results(request, queryset, search_term)

    def buttons_of(self, row: Operation) -> Sequence[Button]:
        if row.ended:
            return (RETRY,) if row.failed else ()
        offered = {Operation.Status.RUNNING: (CANCEL, PAUSE), Operation.Status.PAUSED: (CANCEL, RESUME)}
        return offered.get(Operation.Status(row.status), ())

    def cancel(self, request: HttpRequest, row: Operation) -> None:
        _control(request, row, control.cancel, "Cancelled: nothing more begins, and what runs is counted.")

    def ask_cancel(self, request: HttpRequest, row: Operation) -> Confirmation:
        waits, runs = counted(row.waiting, "subscription"), counted(row.running, "subscription")
        effect = f"Not begun, and left as they were: {waits}. Running, and finished and counted: {runs}."
        title = f"Cancel what remains of this {bulk_name(row.kind).lower()}?"
        return Confirmation(title=title, effect=effect, label="Cancel remaining", tone="danger")

    def pause(self, request: HttpRequest, row: Operation) -> None:
        _control(request, row, control.pause, "Paused: nothing more begins until it is resumed.")

    def resume(self, request: HttpRequest, row: Operation) -> None:
        _control(request, row, control.resume, "Resumed.")

    def retry_failed(self, request: HttpRequest, row: Operation) -> HttpResponse:
        if not row.ended:
            messages.error(request, "Failed to start bulk retry: the operation has not ended yet.")
            return HttpResponseRedirect(self.page(row))
        scope = Scope(kind=Operation.Kind.RETRY, failed_in=row.pk)
        return confirm(request, Question(scope=scope, back=self.page(row), back_title=str(row), retries=row))

    @admin.display(description="status", ordering="status")
    def state(self, operation: Operation) -> str:
        tone = tone_of_operation(operation.status, operation.failed)
        return format_html("{} {}", badge(operation.get_status_display().capitalize(), tone), operation.reason)

    @admin.display(description="progress")
    def bar(self, operation: Operation) -> str:
        return format_html(
            '<progress max="{}" value="{}" aria-label="completed"></progress> <span class="nowrap">{}</span>',
            operation.total,
            operation.completed,
            completed_text(progress_of(operation)),
        )

    @admin.display(description="outcome")
    def outcome(self, operation: Operation) -> str:
        counts = [(status, getattr(operation, status)) for status in OperationItem.Status.values]
        links = [_items_link(operation, f"{n:,} {status}", status=status) for status, n in counts if n]
        return format_html_join(", ", "{}", ((text,) for text in links))

    @admin.display(description="created", ordering="created_at")
    def created(self, operation: Operation) -> str:
        return moment(operation.created_at)


def _control(request: HttpRequest, row: Operation, act: Callable[[UUID, Asker], Operation], done: str) -> None:
    try:
        act(row.pk, asker_of(request))
    except Refused as refusal:
        messages.error(request, str(refusal))
        return
    messages.success(request, done)


def _items_link(operation: Operation, text: str, **filters: str) -> SafeString:
    named = {f"{name}__exact": value for name, value in filters.items()}
    return list_link(OperationItem, text, {"operation__exact": operation.pk, **named})
