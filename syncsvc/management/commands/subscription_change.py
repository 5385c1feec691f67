"""Changes a subscription."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.management import base
from syncsvc.management.asking import add_asker, add_yes, asker
from syncsvc.management.pausing import line, set_active
from syncsvc.management.selectors import find_subscription


class Command(base.Command):
    help = "Changes a subscription."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("subscription", metavar="APP/REPOSITORY", help="or its id")
        state = parser.add_mutually_exclusive_group(required=True)
        state.add_argument("--pause", action="store_true", help="nothing is sent until it is resumed; nothing is lost")
        state.add_argument("--resume", action="store_true", help="what became due meanwhile is sent")
        add_yes(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        row = find_subscription(options["subscription"])
        who = asker("subscription_change", options)
        changed = set_active(self, row, options, who, is_active=options["resume"])
        document = {
            "id": row.id,
            "app": row.app.name,
            "repository": row.repository.name,
            "paused": not row.is_active,
            "changed": ["paused"] if changed else [],
        }
        return base.Answer(document=document, lines=[line(row, changed=changed)])
