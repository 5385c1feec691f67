"""The part of an app's form that is about its headers and certificates."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ImproperlyConfigured

from syncsvc.admin.form_fields import SecretsForm, SecretTextarea
from syncsvc.delivery.client_certificate import check_client_key
from syncsvc.delivery.extra_headers import check_headers
from syncsvc.delivery.webhook_url import check_webhook_url
from syncsvc.exceptions import InvalidUrlError
from syncsvc.models import App
from syncsvc.models.app import check_pem
from syncsvc.operations.authentication import (
    AUTHENTICATION,
    NOTHING,
    authentication_problems,
    held,
    is_other_origin,
    move_text,
)

HELP = {column.name: column.help for column in AUTHENTICATION}
WRITE_ONLY = "Write-only: blank keeps what is stored."
KEEP, DROP = "keep", "drop"
AT_NEW_HOST = (("", "Say so where the URL changes"), (DROP, "Forget them"), (KEEP, "Send them to the new host too"))
SHOWN = ("ca_certificate", "client_certificate")


def secret_area(name: str, label: str) -> forms.CharField:
    text = SecretTextarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(label=label, required=False, help_text=f"{HELP[name]} {WRITE_ONLY}", widget=text)


class AuthenticationForm(SecretsForm):
    """Headers and the key go in here and never come out. `fieldset` names the fields in order."""

    new_headers = secret_area("headers", "Headers")
    remove_headers = forms.BooleanField(label="Remove the stored headers", required=False)
    new_client_key = secret_area("client_key", "Client key")
    at_new_host = forms.ChoiceField(
        label="At another host",
        required=False,
        choices=AT_NEW_HOST,
        help_text="What becomes of stored headers and certificates where the URL gets another scheme, host or port.",
    )

    @staticmethod
    def fieldset(*, of_new_app: bool) -> tuple[str, ...]:
        if of_new_app:
            return ("new_headers", "ca_certificate", "client_certificate", "new_client_key")
        return (
            *("new_headers", "remove_headers", "ca_certificate", "client_certificate", "new_client_key"),
            "at_new_host",
        )

    def clean_new_headers(self) -> str:
        return _checked(self.cleaned_data["new_headers"], check_headers)

    def clean_ca_certificate(self) -> str:
        return _checked(self.cleaned_data["ca_certificate"], check_pem)

    def clean_client_certificate(self) -> str:
        return _checked(self.cleaned_data["client_certificate"], check_pem)

    def clean_new_client_key(self) -> str:
        return _checked(self.cleaned_data["new_client_key"], check_client_key)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("new_headers") and cleaned.get("remove_headers"):
            self.add_error("remove_headers", "Either give new headers, or remove those that are stored.")
        changes = self._changes(cleaned)
        if not {"client_certificate", "new_client_key"} & set(self.errors) and "client_certificate" in cleaned:
            self._check_pair(changes)
        if "url" in cleaned and not self.errors:
            self._check_move(cleaned, changes)
        return cleaned

    def apply(self, app: App) -> set[str]:
        """Puts new headers and keys on the row; returns the names of the columns that have changed."""
        changes = self._changes(self.cleaned_data)
        for name, value in changes.items():
            setattr(app, name, value)
        return set(changes)

    @property
    def keeps_authentication(self) -> bool | None:
        return {KEEP: True, DROP: False}.get(self.cleaned_data["at_new_host"])

    def _changes(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """By column, what this form gives it. A client certificate that is taken out takes its key along."""
        # Compared as they are stored: browsers send line ends of their own.
        typed = {name: cleaned[name] for name in SHOWN if name in cleaned}
        changes: dict[str, Any] = {name: text for name, text in typed.items() if text != (self.initial.get(name) or "")}
        if cleaned.get("remove_headers"):
            changes["headers"] = None
        if headers := cleaned.get("new_headers"):
            changes["headers"] = headers
        if key := cleaned.get("new_client_key"):
            changes["client_key"] = key
        elif changes.get("client_certificate") == "":
            changes["client_key"] = NOTHING["client_key"]
        return changes

    def _check_pair(self, changes: dict[str, Any]) -> None:
        if not {"client_certificate", "client_key"} & set(changes):
            return
        certificate = changes.get("client_certificate", self.initial.get("client_certificate") or "")
        would_be = App(client_certificate=certificate, client_key=changes.get("client_key", self.instance.client_key))
        try:
            problems = authentication_problems(would_be)
        except ImproperlyConfigured as error:  # the stored key cannot be read
            problems = {"client_key": str(error)}
        for name, problem in problems.items():
            self.add_error("new_client_key" if name == "client_key" else name, problem)

    def _check_move(self, cleaned: dict[str, Any], changes: dict[str, Any]) -> None:
        old = self.initial.get("url")
        try:
            new = check_webhook_url(cleaned["url"])
        except InvalidUrlError:  # the field says so by itself
            return
        if not old or not is_other_origin(old, new) or cleaned.get("at_new_host"):
            return
        stored = App(**{name: self.initial.get(name) or "" for name in SHOWN})
        stored.headers, stored.client_key = self.instance.headers, self.instance.client_key
        if names := held(stored, but_not=changes):
            self.add_error("at_new_host", move_text(stored, names))


def _checked(text: str, check: Callable[[str], str]) -> str:
    try:
        return check(text) if text else ""
    except ValueError as error:
        raise forms.ValidationError(str(error)) from None
