"""Apps: where webhooks go, whether they arrive, a test of it, and the exchange of secrets."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html

from syncsvc.admin import app_page, secrets
from syncsvc.admin.actions import BULK_BUTTONS, BulkButtons
from syncsvc.admin.app_authentication import authentication_shown
from syncsvc.admin.app_form import AppForm, signing_of_app
from syncsvc.admin.app_page import DISMISS, THROTTLED, throttled, verdict
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button, Confirmation, ask
from syncsvc.admin.cells import badge, clock, list_link, moment
from syncsvc.admin.counting import NONE, standing_of, subscriptions_of
from syncsvc.admin.pause_buttons import PAUSE, RESUME, PauseButtons
from syncsvc.admin.ping import describe
from syncsvc.admin.removal import RemovalMixin
from syncsvc.delivery.signing import Signing, new_secret, public_key
from syncsvc.exceptions import Refused
from syncsvc.models import App, Subscription
from syncsvc.operations.apps import PROFILE_NAMES, save_app
from syncsvc.operations.authentication import AUTHENTICATION_NAMES
from syncsvc.operations.moves import dismiss_old_url
from syncsvc.operations.secrets import Rotated, before_text, rotate
from syncsvc.operations.testing import send_test

ROTATE = Button(
    "rotate",
    "Rotate secret",
    "Make a new secret; for 24 hours both sign",
    confirms="ask_rotate",
    failed="Failed to rotate the secret",
)
FORCE = ("force", "1")  # what the question posts where a secret before the present one is still valid
TEST = Button("test", "Send test", "Send a signed ping now and show the answer", failed="Failed to send the test")


@admin.register(App)
class AppAdmin(BulkButtons, PauseButtons, RemovalMixin):
    form = AppForm
    change_form_template = "admin/syncsvc/app.html"
    panels = app_page.PANELS
    buttons = (*BULK_BUTTONS, TEST, PAUSE, RESUME, ROTATE, DISMISS)
    list_display = ("name", "url", "state", "subscription_count", "created")
    list_filter = ("is_active",)
    search_fields = ("name", "url")
    search_help_text = "Part of a name or URL."

    def get_fieldsets(self, request: HttpRequest, obj: App | None = None) -> Any:
        return [
            (None, {"fields": ("name", "url", "new_secret", "signing", *PROFILE_NAMES, "is_active")}),
            ("Headers and certificates", {"fields": AppForm.fieldset(of_new_app=obj is None)}),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(subscription_count=subscriptions_of("app"), standing=standing_of("app"))
        )
        return rows

    def buttons_of(self, row: App) -> Sequence[Button]:
        """The buttons of the header; the secret's stands beside its line, and that of an old URL in its notice."""
        return (*BULK_BUTTONS, TEST, PAUSE if row.is_active else RESUME)

    def beside(self, request: HttpRequest, row: App) -> dict[str, Any]:
        may = self.may_press(request, ROTATE, row)
        button = {**ROTATE._asdict(), "url": self.press_url(row, ROTATE.press)} if may else None
        return {"rotate": button, "before": row.still_valid_secrets(timezone.now()), **authentication_shown(row)}

    def pressed(self, request: HttpRequest, row: App, button: Button) -> HttpResponse:
        app_page.NUMBERS.forget(row)
        return super().pressed(request, row, button)

    @admin.display(description="state")
    def state(self, app: Any) -> str:
        """The verdict of the app's own page."""
        counts = app.standing or NONE
        found = verdict(app, counts)
        shown = badge(found["word"], found["tone"])
        if not app.is_active:
            return format_html("{} {}", shown, app.pause_reason)
        wait = throttled(app, counts) if found["word"] == THROTTLED else None
        return format_html("{} until {}", shown, clock(wait["until"])) if wait and wait["waits"] else shown

    @admin.display(description="created", ordering="created_at")
    def created(self, app: App) -> str:
        return moment(app.created_at)

    @admin.display(description="subscriptions", ordering="subscription_count")
    def subscription_count(self, app: Any) -> str:
        return list_link(Subscription, str(app.subscription_count), {"app__exact": app.pk})

    def save_model(self, request: HttpRequest, obj: App, form: Any, change: bool) -> None:
        typed: str = form.cleaned_data["new_secret"]
        signing: Signing | None = form.cleaned_data["signing"]
        authentication: set[str] = form.apply(obj)
        if not change:
            secret = typed or new_secret(signing or Signing.HMAC_SHA256)
            obj.set_secret(secret)
            _keep_to_show(request, obj, secret)
            obj.save()
            return
        changed = (set(form.changed_data) & set(AppForm.Meta.fields) - set(AUTHENTICATION_NAMES)) | authentication
        dropped = save_app(obj, asker_of(request), changed=changed, keep_authentication=form.keeps_authentication)
        if dropped:
            messages.warning(
                request, "The URL is another host's: the headers and certificates of the old one are gone."
            )
        app_page.NUMBERS.forget(obj)
        if typed:
            self._rotate(request, obj, secret=typed)
        elif signing and (rotated := self._rotate(request, obj, signing=signing)):
            _keep_to_show(request, obj, rotated.secret)

    def response_add(self, request: HttpRequest, obj: App, post_url_continue: str | None = None) -> HttpResponse:
        """To the app's own page, which shows the secret."""
        messages.success(request, f"The app {obj.name} was added.")
        return HttpResponseRedirect(self.page(obj))

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "GET":
            secrets.show_once(request, object_id)
        return super().change_view(request, object_id, *args, **kwargs)

    def ask_rotate(self, request: HttpRequest, app: App) -> Confirmation | HttpResponse:
        made = "A new secret is made and shown once."
        if signing_of_app(app) is Signing.ED25519:
            made = "A new key pair is made; this app's page shows its public key."
        effect = f"{made} For 24 hours the present one signs too, then the new one alone."
        title, label = f"Rotate the secret of {app.name}?", "Rotate secret"
        if not (valid := app.still_valid_secrets(timezone.now())):
            return Confirmation(title=title, effect=effect, label=label)
        effect = (
            f"The secret was exchanged lately, and {before_text(valid)} until {valid[0].until:%Y-%m-%d %H:%M} UTC."
            f" {made} All of them sign, the present one for 24 hours and those before"
            " until their ends: each message then has more signatures than a receiver may expect."
        )
        asked = Confirmation(title=title, effect=effect, label=label, tone="danger")
        return ask(request, asked, back=self.page(app), back_title=str(app), failed=ROTATE.failed, hidden=[FORCE])

    def rotate(self, request: HttpRequest, app: App) -> None:
        if rotated := self._rotate(request, app, force=FORCE[0] in request.POST):
            _keep_to_show(request, app, rotated.secret)
            new = "key pair: give the receiver its public key, below" if rotated.public_key else "secret"
            messages.success(request, f"There is a new {new}. The one before signs too for 24 hours.")

    @staticmethod
    def _rotate(
        request: HttpRequest, app: App, *, secret: str = "", signing: Signing | None = None, force: bool = False
    ) -> Rotated | None:
        try:
            return rotate(app.pk, asker_of(request), secret=secret, signing=signing, force=force)
        except Refused as refusal:
            messages.error(request, f"{ROTATE.failed}: {refusal}")
            return None

    def test(self, request: HttpRequest, app: App) -> None:
        try:
            tested = send_test(app.pk, asker_of(request))
        except Refused as refusal:
            messages.error(request, f"{TEST.failed}: {refusal}")
            return
        level = messages.SUCCESS if tested.succeeded else messages.ERROR
        messages.add_message(request, level, describe(tested))

    def dismiss_old_url(self, request: HttpRequest, app: App) -> None:
        try:
            dismissed = dismiss_old_url(app.pk, asker_of(request))
        except Refused as refusal:
            messages.error(request, f"{DISMISS.failed}: {refusal}")
            return
        if dismissed.files:
            messages.success(request, f"Dismissed: {dismissed}")
        else:
            messages.info(request, "There is nothing left to dismiss: all of it was sent again, or dismissed before.")


def _keep_to_show(request: HttpRequest, app: App, secret: str) -> None:
    """Of a key pair nobody needs the private key, and the page shows the public one always."""
    if not public_key(secret):
        secrets.keep_to_show(request, app, secret)
