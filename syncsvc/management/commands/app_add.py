"""Adds a client app."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.adding import add, read_secret
from syncsvc.management.app_profile import add_profile, capped_note, profile_given, profile_of
from syncsvc.management.asking import asker
from syncsvc.management.authentication import (
    add_authentication,
    authentication_given,
    authentication_of,
    certificate_note,
    check_authentication,
)
from syncsvc.models import App


class Command(base.Command):
    help = "Adds a client app, and shows its signing secret this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a-z, 0-9, dot, dash, underscore")
        parser.add_argument("url", metavar="URL", help="where its webhooks go")
        parser.add_argument("--secret-file", metavar="F", help="its whsec_ secret, - for stdin (default: one is made)")
        add_profile(parser, with_defaults=True)
        add_authentication(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        given = {**profile_given(options), **authentication_given(options)}
        app = App(name=options["name"], url=options["url"], **given)
        if options["secret_file"] is not None:
            self._take_secret(app, read_secret(options["secret_file"]))
        check_authentication(app)
        add(app, asker("app_add", options), taken=f"There is an app {app.name!r} already; choose another name.")
        secret = app.secret.reveal()
        for note in filter(None, (capped_note(app), certificate_note(app))):
            self.note(note)
        row = {"id": app.id, "name": app.name, "url": app.url, "secret": secret}
        return base.Answer(
            document={**row, **profile_of(app), **authentication_of(app)},
            lines=[f"{app.name} added. Its signing secret, shown this once: {secret}"],
        )

    @staticmethod
    def _take_secret(app: App, text: str) -> None:
        try:
            app.set_secret(text)
        except ValueError as error:
            raise Refused("invalid", str(error)) from None
