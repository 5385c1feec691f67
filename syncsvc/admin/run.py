"""Runs: what each set out to tell, and how it ended."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat
from django.http import HttpRequest

from syncsvc.admin import run_page
from syncsvc.admin.badges import run_badge, run_changes
from syncsvc.admin.buttons import Button
from syncsvc.admin.cells import NOTHING, block, link, list_link, moment, size_cell
from syncsvc.admin.filters import AutocompleteFilter, when
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.stop_button import STOP, StopButton
from syncsvc.ids import uuid_of
from syncsvc.models import DeliveryAttempt, Subscription, SyncRun
from syncsvc.words import counted


@admin.register(SyncRun)
class SyncRunAdmin(StopButton, HistoryAdmin):
    change_form_template = "admin/syncsvc/run.html"
    buttons = (STOP,)
    panels = run_page.PANELS
    list_display = (
        "__str__",
        "subscription_link",
        "state",
        "trigger",
        "progress",
        "took",
        "started",
    )
    list_filter = (("subscription", AutocompleteFilter), when("started_at"), "outcome", "trigger", "error_kind")
    list_select_related = ("subscription__app", "subscription__repository")
    search_fields = ("id",)
    search_help_text = "A run's id, or part of APP/REPOSITORY."
    fields = readonly_fields = (
        "full_id",
        "subscription_link",
        "state",
        "trigger",
        "asked_by",
        "from_to",
        "changes",
        "delivered",
        "failed",
        "attempts",
        "size",
        "deletes_allowed",
        "epoch",
        "error_kind",
        "error_text",
        "traceback_text",
        "worker",
        "started",
        "finished",
        "took",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related(*self.list_select_related)
        return rows

    def buttons_of(self, row: SyncRun) -> Sequence[Button]:
        return () if row.outcome or row.subscription.stop_requested_at else self.buttons

    def is_over(self, row: SyncRun) -> bool:
        return bool(row.outcome)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        if run_id := uuid_of(search_term):
            return queryset.filter(pk=run_id), False
        if not search_term.strip():
            return queryset, False
        named = Subscription.objects.annotate(full_name=Concat("app__name", Value("/"), "repository__name"))
        found = named.filter(full_name__icontains=search_term.strip())
        return queryset.filter(subscription__in=found.order_by().values("id")), False

    @admin.display(description="id")
    def full_id(self, run: SyncRun) -> str:
        return str(run.id)

    @admin.display(description="subscription")
    def subscription_link(self, run: SyncRun) -> str:
        return link(run.subscription)

    @admin.display(description="outcome")
    def state(self, run: SyncRun) -> str:
        return run_badge(run)

    @admin.display(description="delivered")
    def progress(self, run: SyncRun) -> str:
        planned = run.created + run.updated + run.deleted
        if not run.outcome:
            return f"{run.delivered:,} so far"
        return f"{run.delivered:,} of {planned:,}" if run.delivered <= planned else f"{run.delivered:,}"

    @admin.display(description="changes")
    def changes(self, run: SyncRun) -> str:
        return run_changes(run)

    @admin.display(description="commits")
    def from_to(self, run: SyncRun) -> str:
        return f"{run.from_commit or 'nothing'} → {run.to_commit or 'nothing'}"

    @admin.display(description="requests")
    def attempts(self, run: SyncRun) -> str:
        return list_link(DeliveryAttempt, counted(run.requests, "request"), {"run__exact": run.pk})

    @admin.display(description="sent")
    def size(self, run: SyncRun) -> str:
        return size_cell(run.bytes)

    @admin.display(description="error")
    def error_text(self, run: SyncRun) -> str:
        return block(run.error)

    @admin.display(description="traceback")
    def traceback_text(self, run: SyncRun) -> str:
        return block(run.traceback)

    @admin.display(description="took")
    def took(self, run: SyncRun) -> str:
        return NOTHING if run.seconds is None else f"{run.seconds:,.1f} s"

    @admin.display(description="started", ordering="started_at")
    def started(self, run: SyncRun) -> str:
        return moment(run.started_at)

    @admin.display(description="finished")
    def finished(self, run: SyncRun) -> str:
        return moment(run.finished_at)
