"""Adds a client app."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.delivery.signing import Signing, new_secret, public_key
from syncsvc.management import base
from syncsvc.management.adding import add, read_secret
from syncsvc.management.app_profile import add_profile, capped_note, profile_given
from syncsvc.management.asking import asker
from syncsvc.management.authentication import (
    add_authentication,
    authentication_given,
    certificate_note,
    check_authentication,
)
from syncsvc.management.signers import add_signing, new_signer
from syncsvc.models import App
from syncsvc.operations.app_document import authentication_of, profile_of
from syncsvc.operations.secrets import checked


class Command(base.Command):
    help = "Adds a client app, and shows its signing secret this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a-z, 0-9, dot, dash, underscore")
        parser.add_argument("url", metavar="URL", help="where its webhooks go")
        parser.add_argument(
            "--secret-file", metavar="F", help="its whsec_ or whsk_ secret, - for stdin (default: made)"
        )
        add_signing(parser, default=Signing.HMAC_SHA256)
        add_profile(parser, with_defaults=True)
        add_authentication(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        given = {**profile_given(options), **authentication_given(options)}
        app = App(name=options["name"], url=options["url"], **given)
        signing: Signing | None = options["signing"]
        if options["secret_file"] is not None:
            app.set_secret(checked(read_secret(options["secret_file"]), signing))
        elif signing is not None:
            app.set_secret(new_secret(signing))
        check_authentication(app)
        add(app, asker("app_add", options), taken=f"There is an app {app.name!r} already; choose another name.")
        secret = app.secret.reveal()
        for note in filter(None, (capped_note(app), certificate_note(app))):
            self.note(note)
        row = {"id": app.id, "name": app.name, "url": app.url, **new_signer(secret)}
        return base.Answer(
            document={**row, **profile_of(app), **authentication_of(app)},
            lines=[_added(app, secret)],
        )


def _added(app: App, secret: str) -> str:
    if key := public_key(secret):
        return f"{app.name} added. Its public key, for who verifies: {key}"
    return f"{app.name} added. Its signing secret, shown this once: {secret}"
