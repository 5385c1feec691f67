"""Every option of every command with bad values: exit code 0, 1 or 2, one document, and never a traceback.

Options are found in the commands' own parsers: a new one is tried without a line here.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import load_command_class

from syncsvc.management import base
from tests import factories
from tests.bad_values import ALL, rotated
from tests.management.conftest import Run
from tests.test_project import commands

# In argv there is no NUL, and no text without an end.
SENT = tuple(value for value in ALL if "\0" not in value)
# What waits for something, or reads a file: what is tried is the rest.
LONG = {"watch", "wait", "inline", "help", "json"}
NO_UTF8 = "a\udcffb"  # as Python reads an argument of other bytes
LEFT_OUT = {"seed_scale": "fills a database of its own"}
VALID = {"app": "shop", "name": "shop", "url": "https://example.com/a/b", "repository": "owner/repo"}


def ours() -> Iterator[tuple[str, list[argparse.Action]]]:
    """Each command of ours that answers and ends, with what it can be given."""
    for name in commands():
        command = load_command_class("syncsvc", name)
        if isinstance(command, base.Command) and name not in LEFT_OUT:
            actions = command.create_parser("manage.py", name)._actions
            django_s = [one for one in actions if base.SUPPRESSED & {*one.option_strings}]
            yield name, [one for one in actions if one.dest not in LONG and one not in django_s]


def positional(actions: list[argparse.Action]) -> dict[str, str]:
    needed = [one for one in actions if not one.option_strings and one.nargs not in ("?", "*")]
    return {one.dest: VALID.get(one.dest, "shop/owner/repo") for one in needed}


@pytest.mark.parametrize(("turn", "name", "actions"), [(turn, *one) for turn, one in enumerate(ours())])
def test_a_bad_value_is_refused_in_words(turn: int, name: str, actions: list[Any], run: Run) -> None:
    factories.SubscriptionFactory(synced=True, app__name="shop", repository__name="owner/repo")
    given = positional(actions)
    for number, action in enumerate(actions):
        values = [*rotated(13 * turn + 3 * number, 3, SENT), NO_UTF8]
        for value in values if action.nargs != 0 else [""]:
            arguments = typed(action, value, given)
            said(run(name, "--json", *arguments), name, arguments)


def typed(action: argparse.Action, value: str, given: dict[str, str]) -> list[str]:
    """The arguments, with this value of this action."""
    if not action.option_strings:
        return ["--", *{**given, action.dest: value}.values()]
    option = action.option_strings[-1]
    return [*given.values(), f"{option}={value}" if action.nargs != 0 else option]


def said(ran: Any, name: str, arguments: list[str]) -> None:
    """One document, whatever was asked; an error that says something where it was refused."""
    assert ran.code in (0, 1, 2), (name, arguments)
    assert "Traceback" not in ran.err, (name, arguments)
    assert ran.out.startswith("{"), (name, arguments, ran)
    document = json.loads(ran.out)
    assert (ran.code == 2) == (set(document) == {"error"}), (name, arguments)
    if ran.code == 2:
        assert document["error"]["message"], (name, arguments)
