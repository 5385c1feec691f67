"""Apps: where webhooks go, a test of it, and the exchange of secrets."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from syncsvc.admin import secrets
from syncsvc.admin.actions import BULK_BUTTONS, BulkButtons
from syncsvc.admin.app_form import AppForm
from syncsvc.admin.buttons import Button, Confirmation
from syncsvc.admin.cells import badge, list_link, moment
from syncsvc.admin.ping import describe, send_ping
from syncsvc.admin.removal import RemovalMixin
from syncsvc.delivery.signing import new_secret
from syncsvc.models import App, Subscription


@admin.register(App)
class AppAdmin(BulkButtons, RemovalMixin):
    form = AppForm
    buttons = (
        Button("test", "Test", "Send a signed ping now and show the answer"),
        Button("rotate", "Rotate secret", "Make a new secret; for 24 hours both sign", confirms="ask_rotate"),
        *BULK_BUTTONS,
    )
    list_display = ("name", "url", "state", "subscription_count", "created")
    list_filter = ("is_active",)
    search_fields = ("name", "url")
    search_help_text = "Part of a name or URL."
    readonly_fields = ("state", "circuit", "failure_streak", "previous_secret_ends", "created", "subscription_links")

    def get_fieldsets(self, request: HttpRequest, obj: App | None = None) -> Any:
        settings = ("name", "url", "new_secret", "max_batch", "max_in_flight", "is_active")
        state = ("state", "circuit", "failure_streak", "previous_secret_ends", "created", "subscription_links")
        return [(None, {"fields": settings}), ("State", {"fields": state})][: 2 if obj else 1]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        counted = super().get_queryset(request).annotate(subscription_count=Count("subscriptions"))
        rows: QuerySet[Any] = counted.order_by("name")  # a model's own order does not hold for grouped rows
        return rows

    @admin.display(description="state")
    def state(self, app: App) -> str:
        if not app.is_active:
            return format_html("{} {}", badge("paused", "quiet"), app.pause_reason)
        return badge("circuit open", "bad") if app.circuit_opened_at else badge("active", "good")

    @admin.display(description="circuit")
    def circuit(self, app: App) -> str:
        if app.circuit_opened_at is None:
            return format_html("{}", "closed: requests go out")
        since, until = moment(app.circuit_opened_at), moment(app.circuit_until)
        return format_html("open since {}; one request tries the endpoint {}", since, until)

    @admin.display(description="previous secret signs until")
    def previous_secret_ends(self, app: App) -> str:
        return moment(app.previous_secret_until)

    @admin.display(description="created", ordering="created_at")
    def created(self, app: App) -> str:
        return moment(app.created_at)

    @admin.display(description="subscriptions", ordering="subscription_count")
    def subscription_count(self, app: Any) -> str:
        return list_link(Subscription, str(app.subscription_count), {"app__exact": app.pk})

    @admin.display(description="subscriptions")
    def subscription_links(self, app: Any) -> str:
        return self.subscription_count(app)

    def save_model(self, request: HttpRequest, obj: App, form: Any, change: bool) -> None:
        typed: str = form.cleaned_data["new_secret"]
        if obj.is_active:
            obj.pause_reason = ""
        if not change:
            secret = typed or new_secret()
            obj.set_secret(secret)
            secrets.keep_to_show(request, obj, secret)
        # Of a row that exists only what the form has: workers move its circuit meanwhile.
        obj.save(update_fields=[*AppForm.Meta.fields, "pause_reason"] if change else None)
        if change and typed:
            secrets.rotate(obj.pk, typed)
        if change and "url" in form.changed_data:
            App.objects.endpoint_answered(obj.pk)  # the streak and the circuit were another endpoint's

    def response_add(self, request: HttpRequest, obj: App, post_url_continue: str | None = None) -> HttpResponse:
        """To the app's own page, which shows the secret."""
        messages.success(request, f"The app {obj.name} was added.")
        return HttpResponseRedirect(self.page(obj))

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "GET":
            secrets.show_once(request, object_id)
        return super().change_view(request, object_id, *args, **kwargs)

    def ask_rotate(self, request: HttpRequest, app: App) -> Confirmation:
        effect = "A new secret is made and shown once. For 24 hours the present one signs too, then the new one alone."
        return Confirmation(title=f"Rotate the secret of {app.name}?", effect=effect, label="Rotate secret")

    def rotate(self, request: HttpRequest, app: App) -> None:
        secret = new_secret()
        secrets.rotate(app.pk, secret)
        secrets.keep_to_show(request, app, secret)
        self.log_change(request, app, "Rotated the secret.")
        messages.success(request, "There is a new secret. The one before signs too for 24 hours.")

    def test(self, request: HttpRequest, app: App) -> None:
        answer = send_ping(app)
        level = messages.ERROR if answer.error_kind else messages.SUCCESS
        messages.add_message(request, level, describe(answer))
