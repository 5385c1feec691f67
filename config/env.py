"""Settings from the environment: typed, with defaults, secrets from files, one list of all that were read."""

import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


class SecretText(str):
    """A setting's value that no dump of settings shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'" if self else "''"


class Env:
    """Reads settings and remembers their names, so that a test can hold the documentation to them.

    A variable of the environment wins, then the file that `NAME_FILE` names (for secrets), then a line of
    `defaults_file`.
    """

    def __init__(self, defaults_file: Path | None = None) -> None:
        self.names: list[str] = []
        self._defaults = read_env_file(defaults_file) if defaults_file else {}

    def text(self, name: str, default: str = "", *, beside: str = "") -> str:
        """A line of `defaults_file` counts only where `beside`, another setting, is not given in the environment."""
        self.names.append(name)
        if name in os.environ:
            return os.environ[name]
        if file := os.environ.get(f"{name}_FILE"):
            return _read_secret(name, file)
        if beside in os.environ or f"{beside}_FILE" in os.environ:
            return default
        return self._defaults.get(name, default)

    def secret(self, name: str) -> SecretText:
        """A variable that is blank, as docker-compose.yml leaves it, is none: the file counts, where one is named."""
        file = os.environ.get(f"{name}_FILE")
        if file and not os.environ.get(name):
            self.names.append(name)
            return SecretText(_read_secret(name, file))
        return SecretText(self.text(name))

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: float = math.inf) -> int:
        return self._number(name, default, int, minimum, maximum)

    def decimal(self, name: str, default: float, *, minimum: float = 0) -> float:
        return self._number(name, default, float, minimum, sys.float_info.max)  # neither "inf" nor "nan"

    def flag(self, name: str, default: bool = False) -> bool:
        text = self.text(name, "1" if default else "0").strip().lower()
        if text not in TRUE | FALSE:
            raise ImproperlyConfigured(f"{name} is {text!r}; write 1 or 0.")
        return text in TRUE

    def one_of(self, name: str, default: str, choices: Sequence[str]) -> str:
        text = self.text(name, default).strip()
        if text not in choices:
            raise ImproperlyConfigured(f"{name} is {text!r}; write {' or '.join(choices)}.")
        return text

    def words(self, name: str, default: str = "") -> list[str]:
        return [item.strip() for item in self.text(name, default).split(",") if item.strip()]

    def seconds(self, name: str, default: str) -> tuple[float, ...]:
        """A comma-separated list of durations in seconds."""
        try:
            values = tuple(float(item) for item in self.words(name, default))
        except ValueError:
            raise ImproperlyConfigured(f"{name} must be numbers of seconds, separated by commas.") from None
        if any(value < 0 for value in values):
            raise ImproperlyConfigured(f"{name} has a negative number of seconds.")
        return values

    def _number[N: (int, float)](
        self, name: str, default: N, convert: Callable[[str], N], minimum: N, maximum: float
    ) -> N:
        text = self.text(name, str(default))
        try:
            value = convert(text)
        except ValueError:
            raise ImproperlyConfigured(f"{name} is {text!r}, which is no number.") from None
        if value < minimum:
            raise ImproperlyConfigured(f"{name} is {value}; it must be at least {minimum}.")
        if not value <= maximum:
            raise ImproperlyConfigured(f"{name} is {value}; it must be at most {maximum:g}.")
        return value


def _read_secret(name: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig").strip()  # editors on Windows write a byte order mark
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {error.strerror}.") from None


def read_env_file(file: Path) -> dict[str, str]:
    """The NAME=value lines of a file; nothing where there is no file."""
    if not file.is_file():
        return {}
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}
