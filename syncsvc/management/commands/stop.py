"""Stops the run of a subscription that goes on."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.management import base
from syncsvc.management.asking import add_asker, add_yes, asker, at_terminal, make_sure_of
from syncsvc.management.selectors import find_subscription
from syncsvc.operations.stopping import stop


class Command(base.Command):
    help = (
        "Stops the run that goes on, within seconds. What was acknowledged stays; the rest waits for the next change,"
        " a retry or the hourly try."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("subscription", metavar="APP/REPOSITORY", help="or its id")
        add_yes(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        subscription, who = find_subscription(options["subscription"]), asker("stop", options)
        if at_terminal() and not options["json"]:  # it loses nothing, so a script is not asked
            make_sure_of(f"Stop the run of {subscription}?", options, say=self.note)
        stopping = stop(subscription.id, who)
        document = {"subscription": str(subscription), "id": subscription.id, "run": stopping.run_id}
        line = f"{subscription}: the run stops within seconds; manage.py retry {subscription} goes on"
        return base.Answer(document=document, lines=[line])
