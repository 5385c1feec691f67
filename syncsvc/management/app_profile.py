"""The app's limits as options of `app_add` and `app_change`: one line each."""

import math
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from syncsvc.management.base import positive
from syncsvc.models import App

NONE = "none"


def _whole_or_none(text: str) -> int | None:
    return None if text == NONE else positive(text)


def _seconds_or_none(text: str) -> float | None:
    value = None if text == NONE else float(text)
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError
    return value


# What argparse calls them in "invalid … value".
_whole_or_none.__name__ = "whole number, 1 or more, or none"
_seconds_or_none.__name__ = "number of seconds, or none"


class Option(NamedTuple):
    """A column of App; the option is called like it, with dashes. `read` makes its value of what is typed.

    `none` says what holds where the column is null, which is typed as `none`; blank where it is never null.
    """

    column: str
    metavar: str
    help: str
    read: Callable[[str], Any] = positive
    none: str = ""

    @property
    def flag(self) -> str:
        return f"--{self.column.replace('_', '-')}"


PROFILE = (
    Option("max_batch", "N", "changes in a request, at most"),
    Option("max_in_flight", "N", "requests at once, a worker process"),
    Option("max_per_second", "N", "requests a second, all workers together", _whole_or_none, "no limit"),
    Option("timeout", "SECONDS", "that a request may take", _seconds_or_none, "WEBHOOK_TIMEOUT"),
)


def add_profile(parser: ArgumentParser, *, with_defaults: bool = False) -> None:
    """`with_defaults`: the help says what an app has where an option is left out."""
    defaults = App()
    for option in PROFILE:
        default = option.none or getattr(defaults, option.column)
        said = f" (default: {default})" if with_defaults else f"; none: {option.none}" if option.none else ""
        help = f"{option.help}{said}"
        parser.add_argument(option.flag, metavar=option.metavar, type=option.read, default=SUPPRESS, help=help)


def profile_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """By column, what was typed."""
    return {option.column: options[option.column] for option in PROFILE if option.column in options}


def profile_of(app: App) -> dict[str, Any]:
    """By column, for JSON; `request_timeout` is the seconds that count."""
    return {
        **{option.column: getattr(app, option.column) for option in PROFILE},
        "request_timeout": app.request_timeout,
    }


def capped_note(app: App) -> str:
    """A larger timeout than a lease allows; blank where there is none."""
    if not app.timeout_is_capped:
        return ""
    return (
        f"The timeout of {app.timeout:g} s counts as {app.request_timeout:g} s: a request must be over before its"
        " worker's lease can end (LEASE_SECONDS)."
    )
