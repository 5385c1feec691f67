"""A repository as an operator fills it in."""

from typing import Any

from django import forms

from syncsvc.admin.bases import RepositoryModelForm
from syncsvc.exceptions import InvalidCredentialError, InvalidUrlError
from syncsvc.git.ssh_key import check_private_key
from syncsvc.git.url import default_name, scheme_of
from syncsvc.models import Repository
from syncsvc.models.repository import given_url

WRITE_ONLY = "Write-only. Blank keeps what is stored."
NEW_REMOTE = {
    "url",
    "branch",
    "username",
    "new_token",
    "remove_token",
    "new_ssh_key",
    "remove_ssh_key",
    "known_hosts",
    "ca_certificate",
}


class RepositoryForm(RepositoryModelForm):
    """Credentials go in here and never come out."""

    new_token = forms.CharField(
        label="Token or password",
        required=False,
        help_text=WRITE_ONLY,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )
    remove_token = forms.BooleanField(label="Remove the stored token", required=False)
    new_ssh_key = forms.CharField(
        label="SSH private key", required=False, help_text=WRITE_ONLY, widget=forms.Textarea(attrs={"rows": 4})
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

    def clean_new_ssh_key(self) -> str:
        key: str = self.cleaned_data["new_ssh_key"]
        try:
            return check_private_key(key) if key else ""
        except InvalidCredentialError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "url" not in cleaned:
            return cleaned
        if not cleaned.get("name") and "name" not in self.errors:
            self._take_default_name(cleaned)
        self._check_credential(cleaned, scheme_of(cleaned["url"]))
        cleaned["username"] = cleaned.get("username") or self._username_in_url
        return cleaned

    def _take_default_name(self, cleaned: dict[str, Any]) -> None:
        """`owner/repo`, with `@branch` where that is taken."""
        name = default_name(cleaned["url"])
        others = Repository.objects.exclude(pk=self.instance.pk)
        if others.filter(name=name).exists() and cleaned.get("branch"):
            name = f"{name}@{cleaned['branch']}"
        if others.filter(name=name).exists():
            self.add_error("name", f"There is a repository named {name} already; give this one a name.")
        cleaned["name"] = name

    def _check_credential(self, cleaned: dict[str, Any], scheme: str) -> None:
        token = _will_have(self.instance.token, cleaned, "token")
        ssh_key = _will_have(self.instance.ssh_key, cleaned, "ssh_key") or "new_ssh_key" in self.errors
        if token and ssh_key:
            self.add_error("new_token", "A repository has a token or an SSH key, not both; remove one of them.")
        elif scheme == "ssh" and token:
            self.add_error("new_token", "An ssh URL is read with an SSH key, not with a token; remove the token.")
        elif scheme == "ssh" and not ssh_key:
            self.add_error("new_ssh_key", "An ssh URL is read with an SSH private key; give one.")
        elif scheme != "ssh" and ssh_key and "new_ssh_key" not in self.errors:
            self.add_error("new_ssh_key", "An SSH key needs an ssh URL, such as git@host:owner/repo.git.")
        elif token and scheme not in {"http", "https"}:
            self.add_error("new_token", "Only http and https URLs take a token; change the URL or leave it out.")
        if ssh_key and not cleaned.get("known_hosts", "").strip():
            self.add_error("known_hosts", "An SSH key needs the host's key lines; `ssh-keyscan HOST` prints them.")
        if cleaned.get("username") and not token and {"username", "remove_token"} & set(self.changed_data):
            self.add_error("username", "A user name goes with a token; give one, or leave the user name blank.")

    def apply(self, repository: Repository) -> bool:
        """Puts new credentials on the row; says whether the remote, or how to log in to it, is another one now."""
        for name in ("token", "ssh_key"):
            if self.cleaned_data[f"remove_{name}"]:
                setattr(repository, name, None)
            if text := self.cleaned_data[f"new_{name}"]:
                setattr(repository, name, text)
        return bool(NEW_REMOTE & set(self.changed_data))


def _will_have(stored: object, cleaned: dict[str, Any], name: str) -> bool:
    return bool(cleaned.get(f"new_{name}")) or (stored is not None and not cleaned.get(f"remove_{name}"))
