"""Who asks, where a command does, and whether they are sure."""

import getpass
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth import get_user_model

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.models import Operation
from syncsvc.operations.asker import Asker
from syncsvc.operations.bulk import check_typed_count
from syncsvc.operations.preview import Preview, Shown
from syncsvc.words import counted


def add_asker(parser: ArgumentParser) -> None:
    parser.add_argument("--as", dest="user", metavar="USERNAME", help="ask in the name of this user of the console")


def add_confirmation(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    base.add_positive(parser, "--yes-count", metavar="N", help="the same, if it is about exactly N subscriptions")


def asker(command: str, options: Mapping[str, Any]) -> Asker:
    """`command retry (root)`; with --as in the name of a user."""
    username = options.get("user")
    if username is None:
        return Asker(name=f"command {command} ({_system_user()})", source=Operation.Source.COMMAND)
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: username}, is_active=True).first()
    if user is None:
        raise Refused("not_found", f"There is no active user {username!r} in the console.")
    return Asker(name=f"command {command} ({username})", source=Operation.Source.COMMAND, user=user)


def add_yes(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="ask nothing")


def make_sure_of(question: str, options: Mapping[str, Any], *, say: Callable[[str], None]) -> None:
    """Refused unless --yes says so, or a person at a terminal does."""
    if options["yes"]:
        return
    if options["json"] or not at_terminal():
        raise Refused("confirm", f"{question} To confirm, add --yes.")
    say(question)
    if not _agrees():
        raise Refused("confirm", "Nothing was done.")


def make_sure(shown: Preview | Shown, options: Mapping[str, Any], *, question: str, say: Callable[[str], None]) -> None:
    """Refused unless --yes or --yes-count says so, or a person at a terminal does."""
    typed: int | None = options["yes_count"]
    if typed is not None and typed != shown.total:
        about = counted(shown.total, "subscription")
        raise Refused("confirm", f"--yes-count says {typed}, but it is about {about} by now.")
    if typed is None and not options["yes"]:
        typed = _ask(shown, options, question, say)
    check_typed_count(shown, typed)


def at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> str:
    """What a person types; nothing where they press Ctrl-C or close the terminal."""
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return ""


def _ask(shown: Preview | Shown, options: Mapping[str, Any], question: str, say: Callable[[str], None]) -> int | None:
    if options["json"] or not at_terminal():
        about = counted(shown.total, "subscription")
        raise Refused("confirm", f"This is about {about}. To confirm, add --yes; --dry-run shows more.")
    say(question)
    if shown.must_type_count:
        typed = ask(f"To confirm, type the number of subscriptions ({shown.total}):")
        agreed = typed == str(shown.total)
    else:
        agreed = _agrees()
    if not agreed:
        raise Refused("confirm", "Nothing was done.")
    return shown.total


def _agrees() -> bool:
    return ask("Go on? [y/N]").lower() in ("y", "yes")


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's number without a name
        return f"user {os.getuid()}"
