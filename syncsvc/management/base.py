"""The base of the commands: one JSON document or short human lines, and exit codes that scripts can rely on."""

import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError
from django.db import ProgrammingError, connections

from syncsvc.checks import OURS
from syncsvc.exceptions import Refused
from syncsvc.sync.health import health, redis_state
from syncsvc.visible import visible, visible_json, visible_line

REFUSED = 2
# Django's own options, which would be most of each --help.
SUPPRESSED = {"--version", "--verbosity", "--settings", "--pythonpath", "--no-color", "--force-color", "--skip-checks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command has to say: either is read, and only once. An iterator in `document` is written as a list."""

    document: Mapping[str, Any]
    lines: Iterable[str]


class Command(BaseCommand):
    """Subclasses implement `answer`, raise Refused, and set `exit_code` to 1 where something failed.

    Exit codes: 0 done; 1 done, but something failed; 2 refused. With --json exactly one document goes to stdout; an
    error is {"error": {"kind", "message"}}, its kinds: usage, not_found, conflict, confirm, paused, invalid,
    unavailable.
    """

    suppressed_base_arguments = SUPPRESSED
    requires_system_checks = (OURS,)
    exit_code = 0

    def answer(self, options: Mapping[str, Any]) -> Answer:
        raise NotImplementedError

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # A shortened --json would not be known as such where the parser itself fails.
        parser = super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout, for scripts")
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        as_json = "--json" in argv
        try:
            self._execute(argv)
        except Refused as refusal:
            self._refuse(refusal.kind, str(refusal), as_json)
        except ImproperlyConfigured as error:
            self._refuse("invalid", str(error), as_json)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
                raise
            message = "The database has not been prepared for this version; type `make up`, or manage.py migrate."
            self._refuse("unavailable", message, as_json)
        except UnicodeEncodeError as error:
            if not any("\udc80" <= letter <= "\udcff" for letter in str(error.object)):
                raise
            self._refuse("invalid", "An argument holds bytes that are no UTF-8 text; write it in UTF-8.", as_json)
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            connections.close_all()
        if self.exit_code:
            sys.exit(self.exit_code)

    def handle(self, *args: Any, **options: Any) -> None:
        answer = self.answer(options)
        if options["json"]:
            self._write_document(answer.document)
            return
        for line in answer.lines:
            self.stdout.write(visible_line(line))
            self.stdout.flush()

    def note(self, line: str) -> None:
        """A line for people beside the answer, on stderr."""
        self.stderr.write(visible(line), self.style.WARNING)

    def note_if_nobody_is_woken(self) -> None:
        redis = redis_state()
        if redis.trouble:
            start = "" if redis.answers else " `make up` starts Redis."
            self.note(f"Redis {redis.trouble}, so no worker was woken; the scheduler does it later.{start}")

    def note_if_nobody_works(self) -> None:
        """What was asked for is kept either way, and done once somebody is there."""
        state = health()
        if not state["redis"]:
            self.note_if_nobody_is_woken()
        elif not state["workers"]:
            self.note("No worker has been seen for a minute; it begins when one is there. `make up` starts some.")

    def _execute(self, argv: list[str]) -> None:
        # Otherwise the parser would print by itself, and leave.
        self._called_from_command_line = False
        parser = self.create_parser(argv[0], argv[1])
        try:
            options = vars(parser.parse_args(argv[2:]))
        except CommandError as error:
            message = str(error).removeprefix("Error: ")
            raise Refused("usage", f"{message}; see manage.py {argv[1]} --help") from None
        try:
            self.execute(*options.pop("args", ()), **options)
        except SystemCheckError as error:
            raise Refused("invalid", str(error).strip()) from None

    def _write_document(self, document: Mapping[str, Any]) -> None:
        # It is complete before its first byte is shown, however long: an error comes alone.
        with tempfile.SpooledTemporaryFile(max_size=1 << 20, mode="w+", encoding="utf-8", newline="") as spool:
            spool.writelines(_pieces(document))
            spool.seek(0)
            while piece := spool.read(1 << 16):
                self.stdout.write(piece, ending="")
        self.stdout.flush()

    def _refuse(self, kind: str, message: str, as_json: bool) -> None:
        self.exit_code = REFUSED
        message = message.encode(errors="backslashreplace").decode()  # a file's name may be no UTF-8
        if as_json:
            self._write_document({"error": {"kind": kind, "message": message}})
        else:
            self.stderr.write(visible(message))


def add_positive(parser: ArgumentParser, name: str, **options: Any) -> None:
    """An option that is a whole number of at least 1."""
    parser.add_argument(name, type=positive, **options)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


positive.__name__ = "whole number, 1 or more"  # what argparse calls it: "invalid whole number, 1 or more value"


def _pieces(document: Mapping[str, Any]) -> Iterator[str]:
    separator = "{"
    for name, value in document.items():
        yield f"{separator}{_json(name)}:"
        if isinstance(value, Iterator):
            yield from _list(value)
        else:
            yield _json(value)
        separator = ","
    yield "}\n"


def _list(rows: Iterator[Any]) -> Iterator[str]:
    separator = "["
    for row in rows:
        yield f"{separator}{_json(row)}"
        separator = ","
    yield "[]" if separator == "[" else "]"


def _json(value: Any) -> str:
    return visible_json(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode())
