"""The app's limits as options of `app_add` and `app_change`: one line each."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from syncsvc.management.base import positive
from syncsvc.models import App


class Option(NamedTuple):
    """A column of App; the option is called like it, with dashes. `read` makes its value of what is typed."""

    column: str
    metavar: str
    help: str
    read: Callable[[str], Any] = positive


PROFILE = (
    Option("max_batch", "N", "changes in a request, at most"),
    Option("max_in_flight", "N", "requests at once, a worker process"),
)


def add_profile(parser: ArgumentParser, *, with_defaults: bool = False) -> None:
    """`with_defaults`: the help says what an app has where an option is left out."""
    defaults = App()
    for option in PROFILE:
        default = f" (default: {getattr(defaults, option.column)})" if with_defaults else ""
        flag = f"--{option.column.replace('_', '-')}"
        parser.add_argument(flag, metavar=option.metavar, type=option.read, help=f"{option.help}{default}")


def profile_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """By column, what was typed."""
    return {option.column: options[option.column] for option in PROFILE if options[option.column] is not None}


def profile_of(app: App) -> dict[str, Any]:
    """By column, for JSON."""
    return {option.column: getattr(app, option.column) for option in PROFILE}
