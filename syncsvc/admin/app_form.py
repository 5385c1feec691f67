"""An app as an operator fills it in."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from syncsvc.admin.authentication_form import HELP, SHOWN, AuthenticationForm
from syncsvc.admin.form_fields import LinesField
from syncsvc.delivery.signing import Signing, check_secret, signing_of
from syncsvc.models import App
from syncsvc.models.app import longest_timeout
from syncsvc.operations.apps import PROFILE, PROFILE_NAMES
from syncsvc.operations.secrets import still_valid

SECRET_HELP = "Write-only, whsec_ or whsk_. Blank keeps the secret, and makes one for a new app."  # noqa: S105 - words
SIGNINGS = (
    (Signing.HMAC_SHA256, "HMAC-SHA256: both sides have the secret"),
    (Signing.ED25519, "Ed25519: the receiver has the public key, and nobody the private one"),
)


class AppForm(AuthenticationForm):
    """The secret goes in here and never comes out."""

    write_only = ("new_secret", "new_headers", "new_client_key")

    new_secret = forms.CharField(
        label="New secret",
        required=False,
        help_text=SECRET_HELP,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )

    signing = forms.ChoiceField(
        label="Signed by",
        required=False,
        choices=SIGNINGS,
        help_text="Another choice makes a new secret; the present one signs too for 24 hours.",
    )

    class Meta:
        model = App
        fields = ("name", "url", *PROFILE_NAMES, *SHOWN, "is_active")
        widgets = {  # noqa: RUF012
            "url": forms.TextInput(attrs={"class": "vLargeTextField"}),
            **{name: forms.Textarea(attrs={"rows": 3}) for name in SHOWN},
        }
        field_classes = dict.fromkeys(SHOWN, LinesField)
        help_texts = {  # noqa: RUF012
            "name": "a-z, 0-9, dot, dash, underscore. Commands call the app by it.",
            **{column.name: column.help_with_none("Blank") for column in PROFILE},
            **{name: HELP[name] for name in SHOWN},
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._signing = signing_of_app(self.instance)
        if self._signing:
            self.initial["signing"] = self._signing.value
        if timeout := self.fields.get("timeout"):  # none of who only looks
            most = f"{longest_timeout():g}"
            timeout.help_text = (
                f"{timeout.help_text} (now {settings.WEBHOOK_TIMEOUT:g}). More than {most} counts as {most}: a"
                " request must be over before its worker's lease can end."
            )

    def clean_new_secret(self) -> str:
        secret: str = self.cleaned_data["new_secret"]
        if not secret:
            return ""
        if valid := self.instance.still_valid_secrets(timezone.now()):
            raise forms.ValidationError(still_valid(self.instance, valid))
        try:
            return check_secret(secret)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_signing(self) -> Signing | None:
        """None where nothing of it changes."""
        typed: str = self.cleaned_data["signing"]
        chosen = Signing(typed) if typed else None
        if chosen is None or chosen is self._signing:
            return None
        # The typed secret was cleaned before: it says by itself how it signs.
        secret = self.cleaned_data.get("new_secret")
        # HMAC is what the form of a new app has chosen, whoever fills it in.
        is_chosen = self._signing is not None or chosen is Signing.ED25519
        if secret and is_chosen and signing_of(secret) is not chosen:
            raise forms.ValidationError(f"The secret above signs by {signing_of(secret)}; choose that too.")
        if valid := self.instance.still_valid_secrets(timezone.now()):
            raise forms.ValidationError(still_valid(self.instance, valid))
        return chosen


def signing_of_app(app: App) -> Signing | None:
    """None for a new app, and where no key reads the secret."""
    try:
        return None if app.secret is None else app.signing
    except ImproperlyConfigured:
        return None
