"""An app as an operator fills it in."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from syncsvc.admin.authentication_form import HELP, SHOWN, AuthenticationForm
from syncsvc.delivery.signing import check_secret
from syncsvc.models import App
from syncsvc.models.app import longest_timeout
from syncsvc.operations.apps import PROFILE, PROFILE_NAMES
from syncsvc.operations.secrets import still_valid

SECRET_HELP = "Write-only. Blank keeps the secret, and makes one for a new app."  # noqa: S105 - words for people


class AppForm(AuthenticationForm):
    """The secret goes in here and never comes out."""

    new_secret = forms.CharField(
        label="New secret",
        required=False,
        help_text=SECRET_HELP,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )

    class Meta:
        model = App
        fields = ("name", "url", *PROFILE_NAMES, *SHOWN, "is_active")
        widgets = {  # noqa: RUF012
            "url": forms.TextInput(attrs={"class": "vLargeTextField"}),
            **{name: forms.Textarea(attrs={"rows": 3}) for name in SHOWN},
        }
        help_texts = {  # noqa: RUF012
            "name": "a-z, 0-9, dot, dash, underscore. Commands call the app by it.",
            **{column.name: column.help_with_none("Blank") for column in PROFILE},
            **{name: HELP[name] for name in SHOWN},
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
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
