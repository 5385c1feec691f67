"""Subscriptions: who follows what, how far it is, and what is wrong."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc import wakeup
from syncsvc.admin.actions import SubscriptionActions, SubscriptionButtons
from syncsvc.admin.cells import NOTHING, badge, block, commit_cell, link, list_link, moment
from syncsvc.admin.filters import AutocompleteFilter, PausedFilter
from syncsvc.admin.removal import RemovalMixin
from syncsvc.admin.status import status_cell
from syncsvc.models import DeliveredFile, DeliveryAttempt, Subscription, SyncRun

STATE = ("state", "due", "retries", "error", "failing", "last_success", "at_commit", "epoch", "created", "history")


@admin.register(Subscription)
class SubscriptionAdmin(SubscriptionActions, SubscriptionButtons, RemovalMixin):
    autocomplete_fields = ("app", "repository")
    list_display = ("__str__", "state", "due", "retries", "last_success", "at_commit")
    list_filter = (
        "status",
        PausedFilter,
        ("app", AutocompleteFilter),
        ("repository", AutocompleteFilter),
        "error_kind",
    )
    list_select_related = ("app", "repository", "snapshot")
    search_fields = ("full_name",)
    search_help_text = "Part of APP/REPOSITORY."
    readonly_fields = STATE

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        settings = (None, {"fields": ("app", "repository", "is_active")})
        return [settings, ("State", {"fields": STATE})] if obj else [settings]

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        return ("app", "repository", *STATE) if obj else STATE

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("app", "repository", "snapshot")
        named: QuerySet[Any] = rows.annotate(full_name=Concat("app__name", Value("/"), "repository__name"))
        return named

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # A new app shows its secret on its own page, which a pop-up never opens.
            field.widget.can_add_related = field.widget.can_change_related = False
        return field

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        if change:  # only what the form has: a run may be moving the rest
            obj.save(update_fields=["is_active"])
            return
        obj.asked_by = request.user.get_username()
        obj.save()
        Subscription.objects.mark_queued([obj.id])
        wakeup.wake_runs([obj])

    @admin.display(description="status", ordering="status")
    def state(self, subscription: Subscription) -> str:
        return status_cell(subscription)

    @admin.display(description="retries", ordering="retry_count")
    def retries(self, subscription: Subscription) -> int:
        return subscription.retry_count

    @admin.display(description="next run", ordering="due_at")
    def due(self, subscription: Subscription) -> str:
        return moment(subscription.due_at)

    @admin.display(description="last success", ordering="last_success_at")
    def last_success(self, subscription: Subscription) -> str:
        return moment(subscription.last_success_at)

    @admin.display(description="has commit")
    def at_commit(self, subscription: Subscription) -> str:
        snapshot = subscription.snapshot
        return link(snapshot, commit_cell(snapshot.commit)) if snapshot else NOTHING

    @admin.display(description="last error")
    def error(self, subscription: Subscription) -> str:
        if not subscription.error_kind:
            return NOTHING
        return format_html("{}{}", badge(subscription.error_kind, "bad"), block(subscription.last_error))

    @admin.display(description="failing since")
    def failing(self, subscription: Subscription) -> str:
        return moment(subscription.failing_since)

    @admin.display(description="created")
    def created(self, subscription: Subscription) -> str:
        return moment(subscription.created_at)

    @admin.display(description="history")
    def history(self, subscription: Subscription) -> str:
        only = {"subscription__exact": subscription.pk}
        runs, attempts = list_link(SyncRun, "Runs", only), list_link(DeliveryAttempt, "Attempts", only)
        return format_html("{} · {} · {}", runs, attempts, list_link(DeliveredFile, "Files the app has", only))
