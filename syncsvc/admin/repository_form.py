"""A repository as an operator fills it in."""

from collections.abc import Callable
from typing import Any

from django import forms

from syncsvc.admin.form_fields import LinesField, SecretsForm, SecretTextarea
from syncsvc.exceptions import InvalidCredentialError, InvalidUrlError
from syncsvc.git.credential import check_token
from syncsvc.git.ssh_key import check_private_key
from syncsvc.git.url import default_name
from syncsvc.models import Repository
from syncsvc.models.repository import given_url
from syncsvc.operations.repositories import credential_problems

WRITE_ONLY = "Write-only. Blank keeps what is stored."
NEW = {"token": "new_token", "ssh_key": "new_ssh_key"}  # the form's fields of secrets that are never shown


class RepositoryForm(SecretsForm):
    """Credentials go in here and never come out."""

    write_only = tuple(NEW.values())

    new_token = forms.CharField(
        label="Token or password",
        required=False,
        help_text=WRITE_ONLY,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )
    remove_token = forms.BooleanField(label="Remove the stored token", required=False)
    new_ssh_key = forms.CharField(
        label="SSH private key",
        required=False,
        help_text=WRITE_ONLY,
        widget=SecretTextarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
    )
    remove_ssh_key = forms.BooleanField(label="Remove the stored SSH key", required=False)

    class Meta:
        model = Repository
        fields = ("name", "url", "branch", "poll_seconds", "is_active", "username", "known_hosts", "ca_certificate")
        widgets = {  # noqa: RUF012
            "url": forms.TextInput(attrs={"class": "vLargeTextField"}),
            "known_hosts": forms.Textarea(attrs={"rows": 3}),
            "ca_certificate": forms.Textarea(attrs={"rows": 3}),
        }
        field_classes = dict.fromkeys(("known_hosts", "ca_certificate"), LinesField)
        help_texts = {  # noqa: RUF012
            "name": "Blank: the last two parts of the URL.",
            "username": "Goes with the token, for http and https.",
            "ca_certificate": "PEM, for an https host with a CA of its own; trusted besides the public ones.",
            "known_hosts": "Lines of `ssh-keyscan HOST`, checked by you: no other host key is accepted.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._username_in_url = ""
        if "name" in self.fields:  # it is not, for people who may only look
            self.fields["name"].required = False

    def clean_url(self) -> str:
        try:
            url, self._username_in_url = given_url(self.cleaned_data["url"])
        except InvalidUrlError as error:
            raise forms.ValidationError(str(error)) from error
        return url

    def clean_new_token(self) -> str:
        return _checked(self.cleaned_data["new_token"], check_token)

    def clean_new_ssh_key(self) -> str:
        return _checked(self.cleaned_data["new_ssh_key"], check_private_key)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "url" not in cleaned:
            return cleaned
        if not cleaned.get("name") and "name" not in self.errors:
            self._take_default_name(cleaned)
        problems = credential_problems(self._as_it_would_be(cleaned))
        if not {"username", "remove_token"} & set(self.changed_data):
            problems.pop("username", None)  # it came with the URL of a public repository
        for field, problem in problems.items():
            if NEW.get(field, field) not in self.errors:
                self.add_error(NEW.get(field, field), problem)
        cleaned["username"] = self._username(cleaned.get("username", ""))
        return cleaned

    def _username(self, typed: str) -> str:
        """The user name that was typed; else the one in a new URL, which takes the place of the stored one."""
        if "username" in self.changed_data and typed:
            return typed
        return self._username_in_url or typed

    def _take_default_name(self, cleaned: dict[str, Any]) -> None:
        """`owner/repo`, with `@branch` where that is taken."""
        name = default_name(cleaned["url"])
        others = Repository.objects.exclude(pk=self.instance.pk)
        if others.filter(name=name).exists() and cleaned.get("branch"):
            name = f"{name}@{cleaned['branch']}"
        if others.filter(name=name).exists():
            self.add_error("name", f"There is a repository named {name} already; give this one a name.")
        cleaned["name"] = name

    def _as_it_would_be(self, cleaned: dict[str, Any]) -> Repository:
        """A row with the URL and the credential as this form leaves them; secrets stay encrypted."""
        repository = Repository(**{name: cleaned.get(name, "") for name in ("url", "username", "known_hosts")})
        for name, new in NEW.items():
            kept = None if cleaned.get(f"remove_{name}") else getattr(self.instance, name)
            refused = new in self.errors and self.data.get(new)
            setattr(repository, name, cleaned.get(new) or refused or kept)
        return repository

    def apply(self, repository: Repository) -> set[str]:
        """Puts new credentials on the row; returns the names of the row's fields that have changed."""
        changed = set(self.changed_data) & set(RepositoryForm.Meta.fields)
        if self.cleaned_data["username"] != self.initial.get("username", ""):  # it may have come with the URL
            changed.add("username")
        for name, new in NEW.items():
            if self.cleaned_data[f"remove_{name}"]:
                setattr(repository, name, None)
                changed.add(name)
            if text := self.cleaned_data[new]:
                setattr(repository, name, text)
                changed.add(name)
        return changed


def _checked(secret: str, check: Callable[[str], str]) -> str:
    try:
        return check(secret) if secret else ""
    except InvalidCredentialError as error:
        raise forms.ValidationError(str(error)) from None
