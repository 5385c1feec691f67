"""Text in its normal form; and secrets, encrypted with the first of ENCRYPTION_KEYS, readable with any of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django import forms
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


class NormalTextField(models.CharField):  # type: ignore[type-arg]
    """Text that is stored as it was checked, from whatever form, command or script it comes.

    `normal` returns the text as it is kept, or raises a ValidationError that says what to write instead.
    """

    def __init__(self, *args: Any, normal: Callable[[str], str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.normal = normal

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        text: str = super().clean(value, model_instance)
        return self.normal(text) if text else text

    def formfield(self, *args: Any, **options: Any) -> Any:
        return super().formfield(*args, **{"form_class": NormalTextInput, "normal": self.normal, **options})

    def deconstruct(self) -> Any:
        name, path, arguments, options = super().deconstruct()
        return name, path, arguments, {**options, "normal": self.normal}


class NormalTextInput(forms.CharField):
    """The form field of a NormalTextField: what else looks at the form sees the normal form too."""

    def __init__(self, *, normal: Callable[[str], str], **options: Any) -> None:
        super().__init__(**options)
        self.normal = normal

    def clean(self, value: Any) -> Any:
        text: str = super().clean(value)
        return self.normal(text) if text else text


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("ENCRYPTION_KEYS is empty; `make up` makes one, or set it to a Fernet key.")
    return MultiFernet([Fernet(key) for key in keys])


def fernet() -> MultiFernet:
    return _fernet(tuple(settings.ENCRYPTION_KEYS))


class Sealed:
    """An encrypted secret. It shows nothing of itself; only `reveal` decrypts it."""

    __slots__ = ("token",)

    def __init__(self, token: bytes) -> None:
        self.token = token

    @classmethod
    def seal(cls, text: str) -> Self:
        return cls(fernet().encrypt(text.encode()))

    def reveal(self) -> str:
        try:
            return fernet().decrypt(self.token).decode()
        except InvalidToken:
            raise ImproperlyConfigured(
                "A stored secret cannot be read with ENCRYPTION_KEYS; put the key it was written with back into it."
            ) from None

    def rotated(self) -> "Sealed":
        """The same secret under the newest key."""
        return Sealed(fernet().rotate(self.token))

    def __repr__(self) -> str:
        return "<sealed>"

    __str__ = __repr__


class SealedField(models.BinaryField):  # type: ignore[type-arg]
    """A secret: assign plain text or a Sealed, read a Sealed; None is no secret."""

    def from_db_value(self, value: bytes | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(bytes(value))

    def to_python(self, value: Any) -> Sealed | None:
        return Sealed.seal(value) if isinstance(value, str) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        sealed = self.to_python(value)
        return None if sealed is None else connection.Database.Binary(sealed.token)

    def get_default(self) -> None:
        """No secret; a BinaryField's own would be an empty one."""

    def value_to_string(self, obj: models.Model) -> str:
        return "<sealed>"

    def rotated(self, value: Sealed | None) -> tuple[Sealed | None, int]:
        """The value under the newest key, and how many secrets it holds."""
        return (None, 0) if value is None else (value.rotated(), 1)


@dataclass(frozen=True, slots=True)
class EndingSecret:
    """A secret that is valid until a time."""

    sealed: Sealed = field(repr=False)
    until: datetime


class EndingSecretsField(models.JSONField):
    """Secrets with their ends, as a list of EndingSecret; stored as JSON of encrypted tokens."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> list[EndingSecret]:
        return [_ending_secret(row) for row in super().from_db_value(value, expression, connection)]

    def get_prep_value(self, value: Any) -> Any:
        return [
            {"token": secret.sealed.token.decode(), "until": secret.until.isoformat()}
            if isinstance(secret, EndingSecret)
            else secret
            for secret in value
        ]

    def value_to_string(self, obj: models.Model) -> str:
        return "<sealed>"

    def rotated(self, value: list[EndingSecret]) -> tuple[list[EndingSecret], int]:
        """The value under the newest key, and how many secrets it holds."""
        return [EndingSecret(secret.sealed.rotated(), secret.until) for secret in value], len(value)


def _ending_secret(row: dict[str, str]) -> EndingSecret:
    return EndingSecret(Sealed(row["token"].encode()), datetime.fromisoformat(row["until"]))
