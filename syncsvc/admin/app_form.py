"""An app as an operator fills it in."""

from django import forms
from django.utils import timezone

from syncsvc.admin.bases import AppModelForm
from syncsvc.delivery.signing import check_secret
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE, PROFILE_NAMES
from syncsvc.operations.secrets import previous_valid_until, still_valid

SECRET_HELP = "Write-only. Blank keeps the secret, and makes one for a new app."  # noqa: S105 - words for people


class AppForm(AppModelForm):
    """The secret goes in here and never comes out."""

    new_secret = forms.CharField(
        label="New secret",
        required=False,
        help_text=SECRET_HELP,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )

    class Meta:
        model = App
        fields = ("name", "url", *PROFILE_NAMES, "is_active")
        widgets = {"url": forms.TextInput(attrs={"class": "vLargeTextField"})}  # noqa: RUF012
        help_texts = {  # noqa: RUF012
            "name": "a-z, 0-9, dot, dash, underscore. Commands call the app by it.",
            **{column.name: column.help for column in PROFILE},
        }

    def clean_new_secret(self) -> str:
        secret: str = self.cleaned_data["new_secret"]
        if not secret:
            return ""
        if until := previous_valid_until(self.instance, timezone.now()):
            raise forms.ValidationError(still_valid(self.instance, until))
        try:
            return check_secret(secret)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
