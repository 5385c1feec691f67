"""Fields that store what was checked, and secrets at rest.

Secrets are encrypted with the first of ENCRYPTION_KEYS, readable with any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models

type Check = Callable[[str], str]


class Checked(models.Field):  # type: ignore[type-arg]
    """Stores the form that `check` gives, whether a form, a command or plain code sets the value.

    `check` raises ValueError with the reason for what is refused. Validation says so; a save without validation, as
    everywhere in Django, stores what cannot be checked as it is.
    """

    stored_as = ""

    def __init__(self, *args: Any, check: Check | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.check_text = check

    def deconstruct(self) -> Any:
        """To migrations it is the plain field that it stores."""
        name, path, args, options = super().deconstruct()
        return name, self.stored_as or path, args, options

    def checked(self, text: str, row: models.Model | None) -> str:
        """The form to store; a subclass may take something out of the text and put it elsewhere on the row."""
        return self.check_text(text) if self.check_text else text

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        if isinstance(value, str) and value:
            try:
                value = self.checked(value, model_instance)
            except ValueError as error:
                raise ValidationError(str(error)) from error
        return super().clean(value, model_instance)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str) and value:
            try:
                value = self.checked(value, model_instance)
            except ValueError:
                return value
            setattr(model_instance, self.attname, value)
        return value


class CheckedCharField(Checked, models.CharField):  # type: ignore[type-arg]
    """Short text that is stored in the form that its check returned."""

    stored_as = "django.db.models.CharField"


class CheckedTextField(Checked, models.TextField):  # type: ignore[type-arg]
    """Text that is stored as it was checked."""

    stored_as = "django.db.models.TextField"


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


class SealedField(Checked, models.BinaryField):  # type: ignore[type-arg]
    """A secret: assign plain text or a Sealed, read a Sealed; None is no secret. Plain text is checked, then sealed."""

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
