"""Who did what, who logged in or failed to, and which tokens were used."""

import argparse
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from syncsvc.management import base
from syncsvc.models import AuditEntry
from syncsvc.operations.audit import AuditDocument, audit_documents

LIMIT = 50


class Command(base.Command):
    help = "Lists who did what, logins, failed logins and uses of tokens, the newest first."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--about", metavar="X", default="", help="name, id or address of who or what, in full")
        actions = AuditEntry.Action.values
        parser.add_argument("--action", metavar="A", default="", choices=actions, help=f"one of {', '.join(actions)}")
        parser.add_argument("--since", metavar="TIME", type=moment, help="UTC, such as 2026-11-26 or 2026-11-26T08:00")
        base.add_positive(parser, "--limit", metavar="N", default=LIMIT, help=f"at most so many (default: {LIMIT})")

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        documents = audit_documents(
            about=options["about"], action=options["action"], since=options["since"], limit=options["limit"]
        )
        return base.Answer(document={"entries": documents}, lines=_lines(documents))


def moment(text: str) -> datetime:
    """A time of UTC, unless it names another zone; ValueError for what is none, or is before year 1 in UTC."""
    at = datetime.fromisoformat(text)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None


moment.__name__ = "time"  # what argparse calls it: "invalid time value"


def _lines(documents: Iterator[AuditDocument]) -> Iterator[str]:
    empty = True
    for document in documents:
        empty = False
        yield _line(document)
    if empty:
        yield "No entry."


def _line(entry: AuditDocument) -> str:
    """`2026-11-26 08:00:00 UTC  ann (console, 192.0.2.1): changed app shop: Changed webhook URL.`"""
    where = f"{entry['source']}, {entry['address']}" if entry["address"] else entry["source"]
    what = f" {entry['object_type']} {entry['object_name']}" if entry["object_type"] else ""
    said = f": {entry['text']}" if entry["text"] else ""
    action = AuditEntry.Action(entry["action"]).label
    times = f" ({entry['times']:,} times, last {entry['last_at']:%Y-%m-%d %H:%M:%S} UTC)" if entry["times"] > 1 else ""
    return f"{entry['at']:%Y-%m-%d %H:%M:%S} UTC  {entry['who'] or '-'} ({where}): {action}{what}{said}{times}"
