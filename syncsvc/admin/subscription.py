"""Subscriptions: who follows what, how far it is, and what is wrong."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from syncsvc.admin import failing, subscription_page
from syncsvc.admin.actions import SubscriptionActions, SubscriptionButtons
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button, Confirmation, ask
from syncsvc.admin.cells import NOTHING, block, commit_cell, kind_cell, link, list_link, moment
from syncsvc.admin.filters import AutocompleteFilter, PausedFilter
from syncsvc.admin.pausing import tell
from syncsvc.admin.removal import RemovalMixin
from syncsvc.admin.status import RESYNC, RETRY, has_something_to_retry, status_cell
from syncsvc.admin.stop_button import STOP, StopButton
from syncsvc.exceptions import Refused
from syncsvc.ids import uuid_of
from syncsvc.models import DeliveredFile, DeliveryAttempt, Status, Subscription, SyncRun
from syncsvc.operations import pausing, single
from syncsvc.operations.subscribing import subscribe
from syncsvc.sync.preview import ask_for_preview
from syncsvc.words import counted

STATE = ("state", "due", "retries", "error", "failing", "last_success", "at_commit", "epoch", "created", "history")
PAUSE = Button(
    "pause",
    "Pause",
    "Nothing is sent until it is resumed",
    "change_subscription",
    confirms="ask_pause",
    in_place=True,
    failed="Failed to pause",
)
RESUME = Button(
    "resume",
    "Resume",
    "Send again what is due",
    "change_subscription",
    in_place=True,
    tone="main",
    failed="Failed to resume",
)
ALLOW = Button(
    "allow_deletes",
    "Allow deletes",
    "Let out the deletes that are held, this once",
    "change_subscription",
    confirms="ask_allow_deletes",
    in_place=True,
    tone="danger",
    failed="Failed to allow the deletes",
)
PREVIEW = Button(
    "preview_changes",
    "Preview",
    "Ask a worker what would be sent now; nothing is sent",
    "view_subscription",
    in_place=True,
    failed="Failed to ask for a preview",
)


@admin.register(Subscription)
class SubscriptionAdmin(SubscriptionActions, StopButton, SubscriptionButtons, RemovalMixin):
    change_form_template = "admin/syncsvc/subscription.html"
    panels = subscription_page.PANELS
    buttons = (STOP, ALLOW, RETRY, RESYNC, PAUSE, RESUME, PREVIEW)
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

    def buttons_of(self, row: Subscription) -> Sequence[Button]:
        offered = [PAUSE if row.is_active else RESUME]
        if row.status == Status.SYNCING and row.stop_requested_at is None:
            offered = [STOP, *offered]
        if row.paused:
            return offered
        offered = [*((RETRY,) if has_something_to_retry(row) else ()), RESYNC, *offered]
        return [ALLOW, *offered] if row.is_held else offered

    def beside(self, request: HttpRequest, row: Subscription) -> dict[str, Any]:
        may = self.may_press(request, PREVIEW, row)
        return {"preview_button": {**PREVIEW._asdict(), "url": self.press_url(row, PREVIEW.press)} if may else None}

    def pressed(self, request: HttpRequest, row: Subscription, button: Button) -> HttpResponse:
        failing.forget_numbers()
        return super().pressed(request, row, button)

    def ask_pause(self, request: HttpRequest, row: Subscription) -> Confirmation:
        return Confirmation(
            title=f"Pause {row}?",
            effect="Nothing more is sent until it is resumed. Nothing is lost; a run that goes on stops in seconds.",
            label="Pause",
        )

    def pause(self, request: HttpRequest, row: Subscription) -> None:
        changed = pausing.pause(Subscription.objects.filter(pk=row.pk), asker_of(request))
        tell(request, row, changed=bool(changed), is_active=False)

    def resume(self, request: HttpRequest, row: Subscription) -> None:
        changed = pausing.resume(Subscription.objects.filter(pk=row.pk), asker_of(request))
        tell(request, row, changed=bool(changed), is_active=True)

    def ask_allow_deletes(self, request: HttpRequest, row: Subscription) -> Confirmation | HttpResponse:
        held = single.held_run(row)
        if held is None:
            messages.error(request, f"Failed to allow the deletes: {single.HELD_NO_MORE}")
            return self.pressed(request, row, ALLOW)
        deletes = counted(held.deleted, "file")
        asked = Confirmation(
            title=f"Allow {counted(held.deleted, 'delete')} for {row.app.name}?",
            effect=f"{row.repository.name} at commit {held.to_commit[:12]} no longer has {deletes} that {row.app.name}"
            " has. The app is told to delete them. This holds once, for that commit or one that deletes no more.",
            label="Allow deletes",
            tone="danger",
        )
        back, hidden = self.page(row), [("run", str(held.pk))]
        return ask(request, asked, back=back, back_title=str(row), failed=ALLOW.failed, hidden=hidden)

    def allow_deletes(self, request: HttpRequest, row: Subscription) -> None:
        held = uuid_of(request.POST.get("run", ""))
        try:
            if held is None:
                raise Refused("invalid", single.HELD_NO_MORE)
            single.allow_deletes(row.pk, held, asker_of(request))
        except Refused as refusal:
            messages.error(request, f"{ALLOW.failed}: {refusal}")
            return
        messages.success(request, f"Deletes allowed for {row}")

    def preview_changes(self, request: HttpRequest, row: Subscription) -> None:
        if not Subscription.objects.filter(pk=row.pk).exists():
            messages.error(request, f"{PREVIEW.failed}: {row} was deleted meanwhile.")
            return
        try:
            ask_for_preview(row)
        except Refused as refusal:
            messages.error(request, f"{PREVIEW.failed}: {refusal}")

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
        asker = asker_of(request)
        if change:
            act = pausing.resume if obj.is_active else pausing.pause
            act(Subscription.objects.filter(pk=obj.pk), asker)
        else:
            subscribe(obj, asked_by=asker.name)

    @admin.display(description="status", ordering="status")
    def state(self, subscription: Subscription) -> str:
        return status_cell(subscription)

    @admin.display(description="retries", ordering="retry_count")
    def retries(self, subscription: Subscription) -> int:
        return subscription.retry_count

    @admin.display(description="next run", ordering="due_at")
    def due(self, subscription: Subscription) -> str:
        return "when resumed" if subscription.due_at and subscription.paused else moment(subscription.runs_at)

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
        return format_html("{}{}", kind_cell(subscription.error_kind), block(subscription.last_error))

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
