"""Bulk operations: how far each is, what came out, and what can be done with it."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from syncsvc.admin.buttons import Button, Confirmation
from syncsvc.admin.cells import NOTHING, badge, link, list_link, moment
from syncsvc.admin.confirm import Question, asker_of, confirm, counted
from syncsvc.admin.filters import when
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.operation_bar import followed_bar
from syncsvc.admin.operation_item import item_badge, subscription_cell
from syncsvc.admin.search import uuid_of
from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem
from syncsvc.operations import control
from syncsvc.operations.asker import Asker
from syncsvc.operations.items import items_after
from syncsvc.operations.progress import errors_by_kind, progress
from syncsvc.operations.scope import Scope

TONES = {"running": "busy", "paused": "warn", "cancelling": "warn", "cancelled": "quiet", "finished": "good"}
ITEMS_SHOWN = 50
CANCEL = Button(
    "cancel",
    "Cancel remaining",
    "Nothing more begins; what runs ends and counts",
    "cancel_operation",
    confirms="ask_cancel",
    failed="Failed to cancel",
)
PAUSE = Button("pause", "Pause", "Nothing more begins until it is resumed", "cancel_operation")
RESUME = Button("resume", "Resume", "Go on", "cancel_operation")
RETRY = Button(
    "retry_failed",
    "Retry what failed",
    "A new operation over what failed in this one",
    "bulk_retry",
    confirms="retry_failed",
)


@admin.register(Operation)
class OperationAdmin(HistoryAdmin):
    buttons = (CANCEL, PAUSE, RESUME, RETRY)
    list_display = ("__str__", "state", "bar", "outcome", "asked_by", "created")
    list_filter = ("status", "kind", when("created_at"), "source")
    search_fields = ("scope_text", "asked_by")
    search_help_text = "An operation's id, or part of what it is about, or of who asked."
    sortable_by = ("created",)
    fields = readonly_fields = (
        "state",
        "bar",
        "outcome",
        "pace",
        "errors",
        "about",
        "asked",
        "link_to_retried",
        "links_to_retries",
        "max_running",
        "created",
        "finished",
        "items",
    )

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
        title = f"Cancel what remains of this {row.get_kind_display()}?"
        return Confirmation(title=title, effect=effect, label="Cancel remaining", tone="danger")

    def part(self, request: HttpRequest, row: Operation, name: str) -> HttpResponse:
        return followed_bar(request, row.pk) if name == "bar" else super().part(request, row, name)

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
        return format_html("{} {}", badge(operation.status, TONES[operation.status]), operation.reason)

    @admin.display(description="progress")
    def bar(self, operation: Operation) -> str:
        return format_html(
            '<progress max="{}" value="{}" aria-label="completed"></progress> {} completed',
            operation.total,
            operation.completed,
            f"{operation.completed:,}/{operation.total:,}",
        )

    @admin.display(description="outcome")
    def outcome(self, operation: Operation) -> str:
        counts = [(status, getattr(operation, status)) for status in OperationItem.Status.values]
        links = [_items_link(operation, f"{n:,} {status}", status=status) for status, n in counts if n]
        return format_html_join(", ", "{}", ((text,) for text in links))

    @admin.display(description="pace")
    def pace(self, operation: Operation) -> str:
        now = None if operation.ended else progress(operation.pk)
        if now is None or not now["items_per_second"]:
            return NOTHING
        left = f", about {now['seconds_left']:,.0f} s left" if now["seconds_left"] else ""
        return f"{now['items_per_second']} subscriptions/s, {now['files_per_second']} files/s{left}"

    @admin.display(description="errors by kind")
    def errors(self, operation: Operation) -> str:
        rows = errors_by_kind(operation.pk) if operation.failed else []
        if not rows:
            return NOTHING
        lines = ((_failed_link(operation, row), row["example"]) for row in rows)
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", lines))

    @admin.display(description="about")
    def about(self, operation: Operation) -> str:
        return operation.scope_text

    @admin.display(description="asked by")
    def asked(self, operation: Operation) -> str:
        address = f" from {operation.address}" if operation.address else ""
        return f"{operation.asked_by}, {operation.get_source_display().lower()}{address}"

    @admin.display(description="retries what failed in")
    def link_to_retried(self, operation: Operation) -> str:
        return link(operation.retries) if operation.retries else NOTHING

    @admin.display(description="retried by")
    def links_to_retries(self, operation: Operation) -> str:
        return format_html_join(", ", "{}", ((link(row),) for row in operation.retried_by.all())) or NOTHING

    @admin.display(description="created", ordering="created_at")
    def created(self, operation: Operation) -> str:
        return moment(operation.created_at)

    @admin.display(description="finished")
    def finished(self, operation: Operation) -> str:
        return moment(operation.finished_at)

    @admin.display(description="subscriptions")
    def items(self, operation: Operation) -> str:
        """The first of them; the list has all, page by page."""
        shown = items_after(operation.pk, size=ITEMS_SHOWN).items
        cells = ((subscription_cell(i), item_badge(i), i.error_kind or i.reason, f"{i.files:,}") for i in shown)
        rows = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", cells)
        head = format_html(
            "<tr>{}</tr>", format_html_join("", "<th>{}</th>", [("subscription",), ("status",), ("why",), ("files",)])
        )
        return format_html("{}<table>{}{}</table>", _items_link(operation, f"All {operation.total:,}"), head, rows)


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


def _failed_link(operation: Operation, row: dict[str, Any]) -> SafeString:
    text = f"{row['count']:,} {row['error_kind']}"
    return _items_link(operation, text, status="failed", error_kind=row["error_kind"])
