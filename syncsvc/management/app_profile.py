"""The app's profile as options of `app_add` and `app_change`: one for each of its columns."""

import argparse
import math
from collections.abc import Callable, Mapping
from typing import Any

from django.db import models

from syncsvc.management.base import positive
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE, PROFILE_NAMES, ProfileColumn

NONE = "none"  # what is typed for no value


def add_profile(parser: argparse.ArgumentParser, *, with_defaults: bool = False) -> None:
    """`with_defaults`: the help says what an app has where an option is left out."""
    for column in PROFILE:
        parser.add_argument(
            flag_of(column.name),
            metavar=column.metavar,
            type=reader(App._meta.get_field(column.name)),
            default=argparse.SUPPRESS,
            help=_help(column, with_default=with_defaults),
        )


def flag_of(column: str) -> str:
    return f"--{column.replace('_', '-')}"


def reader(field: Any) -> Callable[[str], Any]:
    """Makes a column's value of what is typed; its range is checked with the whole row."""
    read = positive if isinstance(field, models.IntegerField) else _number
    if not field.null:
        return read

    def read_or_none(text: str) -> Any:
        return None if text == NONE else read(text)

    read_or_none.__name__ = f"{read.__name__}, or {NONE}"
    return read_or_none


def profile_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were typed, by column."""
    return {name: options[name] for name in PROFILE_NAMES if name in options}


def capped_note(app: App) -> str:
    """A larger timeout than a lease allows; blank where there is none."""
    if not app.timeout_is_capped:
        return ""
    return (
        f"The timeout of {app.timeout:g} s counts as {app.request_timeout:g} s: a request must be over before its"
        " worker's lease can end (LEASE_SECONDS)."
    )


def _help(column: ProfileColumn, *, with_default: bool) -> str:
    help = f"{column.help[0].lower()}{column.help[1:].rstrip('.')}"
    if with_default:
        return f"{help} (default: {column.none or getattr(App(), column.name)})"
    return f"{help}; {NONE}: {column.none}" if column.none else help


def _number(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError
    return value


_number.__name__ = "number of more than 0"  # what argparse calls it
