"""Tokens of scripts: made here, shown once, revoked here."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from syncsvc.admin import secrets
from syncsvc.admin.bases import TokenModelForm
from syncsvc.admin.buttons import Button, ButtonsMixin, Confirmation
from syncsvc.admin.cells import badge, moment
from syncsvc.models import ApiToken
from syncsvc.models.token import TokenScope, new_token

LASTS = timedelta(days=90)
SHOWN = 'The token, shown this once: <code class="secret">{}</code> Copy it to the script now.'
STATE = ("state", "token", "created", "last_used")


def _ninety_days_from_now() -> Any:
    return timezone.now().replace(second=0, microsecond=0) + LASTS


class TokenForm(TokenModelForm):
    scopes = forms.TypedMultipleChoiceField(
        choices=TokenScope.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text="Beside these, it may do only what its user has the permission for.",
    )

    class Meta:
        model = ApiToken
        fields = ("name", "user", "scopes", "expires_at")

    def clean_expires_at(self) -> Any:
        expires = self.cleaned_data["expires_at"]
        if expires <= timezone.now():
            raise forms.ValidationError("That is over already; choose a time to come.")
        return expires


@admin.register(ApiToken)
class ApiTokenAdmin(ButtonsMixin):
    """Once made, a token is what it is: a wider one is another one."""

    form = TokenForm
    buttons = (Button("revoke", "Revoke", "From now on it opens nothing", confirms="ask_revoke", tone="danger"),)
    autocomplete_fields = ("user",)
    list_display = ("name", "token", "user", "scope_words", "state", "last_used", "created")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    search_help_text = "Part of a name, of a user's name, or the token's first characters."

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        if obj is not None:
            return ("name", "user", "scope_words", "expires", *STATE)
        return ("name", *(("user",) if _may_choose_user(request) else ()), "scopes", "expires_at")

    def get_form(self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **options: Any) -> Any:
        """Only the name of a token can change: a form that asks for scopes, which are not shown, is never valid."""
        return super().get_form(request, obj, change, **({"form": TokenModelForm} if obj else {}), **options)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return ("user", "scope_words", "expires", *STATE) if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"user": request.user.pk, "expires_at": _ninety_days_from_now(), "scopes": [TokenScope.READ]}

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        if token.revoked_at is not None:
            return badge("Revoked", "quiet")
        return badge("Expired", "quiet") if token.expires_at <= timezone.now() else badge("Active", "good")

    @admin.display(description="token", ordering="prefix")
    def token(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @admin.display(description="scopes")
    def scope_words(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, token: ApiToken) -> str:
        return moment(token.expires_at)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, token: ApiToken) -> str:
        return moment(token.last_used_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, token: ApiToken) -> str:
        return moment(token.created_at)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name"])
            return
        me: Any = request.user
        if not _may_choose_user(request):
            obj.user = me
        token = new_token()
        obj.set_token(token)
        obj.save()
        secrets.keep_to_show(request, obj, token)

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """To the token's own page, which shows it."""
        messages.success(request, f"The token {obj.name} was made.")
        return HttpResponseRedirect(self.page(obj))

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "GET":
            secrets.show_once(request, object_id, SHOWN)
        return super().change_view(request, object_id, *args, **kwargs)

    def ask_revoke(self, request: HttpRequest, token: ApiToken) -> Confirmation:
        effect = f"Scripts that use {token.prefix}… are refused from now on. This cannot be undone."
        return Confirmation(title=f"Revoke the token {token.name}?", effect=effect, label="Revoke", tone="danger")

    def revoke(self, request: HttpRequest, token: ApiToken) -> None:
        if not ApiToken.objects.revoke(token.pk):
            messages.warning(request, "It was revoked before.")
            return
        self.log_change(request, token, "Revoked.")
        messages.success(request, "The token is revoked: it opens nothing from now on.")


def _may_choose_user(request: HttpRequest) -> bool:
    """A token can do what its user can: others make them for themselves alone."""
    return bool(getattr(request.user, "is_superuser", False))
