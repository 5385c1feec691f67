"""The app's profile as options of `app_add` and `app_change`: one for each of its columns."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from django.db import models

from syncsvc.management.base import positive
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE, PROFILE_NAMES

NONE = "none"  # what is typed for no value


def add_profile(parser: argparse.ArgumentParser, *, with_defaults: bool = False) -> None:
    """`with_defaults`: the help says what an app has where an option is left out."""
    defaults = App()
    for column in PROFILE:
        field, value = App._meta.get_field(column.name), getattr(defaults, column.name)
        help = f"{column.help[0].lower()}{column.help[1:].rstrip('.')}"
        default = f" (default: {NONE if value is None else value})" if with_defaults else ""
        parser.add_argument(
            flag_of(column.name), metavar="N", type=reader(field), default=argparse.SUPPRESS, help=f"{help}{default}"
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
    """By column, the values that were typed."""
    return {name: options[name] for name in PROFILE_NAMES if name in options}


def profile_of(app: App) -> dict[str, Any]:
    """By column, for JSON."""
    return {name: getattr(app, name) for name in PROFILE_NAMES}


def _number(text: str) -> float:
    return float(text)


_number.__name__ = "number"  # what argparse calls it
