"""Sends a test to an app's endpoint."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.management import base
from syncsvc.management.asking import add_asker, asker
from syncsvc.management.selectors import find_app
from syncsvc.operations.testing import effect_text, send_test


class Command(base.Command):
    help = (
        "Sends one signed ping to an app's endpoint now. A good answer closes an open circuit and ends a throttle;"
        " a bad one changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="NAME", help="or its id")
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app = find_app(options["app"])
        tested = send_test(app.id, asker("app_test", options))
        answer = tested.answer
        document = {
            "app": app.name,
            "succeeded": tested.succeeded,
            "status": answer.status,
            "milliseconds": tested.milliseconds,
            "error_kind": answer.error_kind,
            "error": answer.error or None,
            "closed_circuit": tested.closed_circuit,
            "ended_throttle": tested.ended_throttle,
        }
        if tested.succeeded:
            line = f"{app.name} answered {answer.status} in {tested.milliseconds} ms. {effect_text(tested)}".rstrip()
        else:
            self.exit_code = 1
            line = f"{app.name}: {answer.error} ({answer.error_kind}, {tested.milliseconds} ms)"
        return base.Answer(document=document, lines=[line])
