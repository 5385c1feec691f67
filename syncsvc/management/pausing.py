"""The common part of `pause` and `resume`."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.asking import add_asker, add_yes, asker, make_sure_of
from syncsvc.management.selectors import find_app, find_repository, find_subscription
from syncsvc.models import App, Repository, Subscription
from syncsvc.operations import pausing
from syncsvc.operations.asker import Asker

type Row = App | Repository | Subscription

STOPS: dict[type[Row], str] = {
    App: "Nothing more is sent to it",
    Repository: "It is not polled, and nothing of it is sent,",
    Subscription: "Nothing more is sent",
}


class Command(base.Command):
    is_active: ClassVar[bool]

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("app", nargs="?", metavar="APP", help="name or id")
        which.add_argument("--repository", metavar="R", help="name or id")
        which.add_argument("--subscription", metavar="APP/REPOSITORY", help="or its id")
        add_yes(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        row = _named(options)
        who = asker("resume" if self.is_active else "pause", options)
        changed = set_active(self, row, options, who, is_active=self.is_active)
        document = {"kind": row._meta.model_name, "id": row.pk, "name": str(row), "paused": not row.is_active}
        return base.Answer(document={**document, "changed": changed}, lines=[line(row, changed=changed)])


def set_active(command: base.Command, row: Row, options: Mapping[str, Any], who: Asker, *, is_active: bool) -> bool:
    """Asks, pauses or resumes, and says whether that changed anything."""
    if row.is_active == is_active:
        return False
    rows = type(row)._default_manager.filter(pk=row.pk)
    if not is_active:
        effect = f"{STOPS[type(row)]} until it is resumed. Nothing is lost; a run that goes on stops in seconds."
        make_sure_of(f"Pause {row}? {effect}", options, say=command.note)
        changed = pausing.pause(rows, who)
    else:
        if not isinstance(row, Subscription):
            make_sure_of(f"Resume {row}?{_why(row)} What became due meanwhile is sent.", options, say=command.note)
        changed = pausing.resume(rows, who)
        command.note_if_nobody_works()
    row.is_active = is_active
    return bool(changed)


def line(row: Row, *, changed: bool) -> str:
    if not changed:
        return f"{row} is {'active' if row.is_active else 'paused'} already"
    return f"{row} resumed; what became due is sent" if row.is_active else f"{row} paused; nothing is lost"


def _named(options: Mapping[str, Any]) -> Row:
    if options["repository"] is not None:
        return find_repository(options["repository"])
    if options["subscription"] is not None:
        return find_subscription(options["subscription"])
    if "/" in options["app"]:
        raise Refused("usage", f"{options['app']} is a subscription; write --subscription {options['app']}.")
    return find_app(options["app"])


def _why(row: App | Repository) -> str:
    return f" It was paused: {row.pause_reason}" if isinstance(row, App) and row.pause_reason else ""
