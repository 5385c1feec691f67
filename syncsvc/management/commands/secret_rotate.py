"""Exchanges an app's signing secret."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.adding import read_secret
from syncsvc.management.asking import add_asker, add_yes, asker, make_sure_of
from syncsvc.management.selectors import find_app
from syncsvc.management.signers import add_signing, new_signer, shown_secret
from syncsvc.operations.secrets import Rotated, rotate, still_valid


class Command(base.Command):
    help = (
        "Exchanges an app's signing secret, and shows the new one this once; of a key pair the public key. For 24 hours"
        " the present one signs too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="APP", help="name or id")
        parser.add_argument(
            "--secret-file", metavar="F", help="its whsec_ or whsk_ secret, - for stdin (default: made)"
        )
        add_signing(parser, default="as the present one")
        parser.add_argument("--force", action="store_true", help="also while one before is valid: all sign")
        add_yes(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app, who = find_app(options["app"]), asker("secret_rotate", options)
        valid = app.still_valid_secrets(timezone.now())
        if valid and not options["force"]:
            raise Refused("conflict", f"{still_valid(app, valid)} (--force)")
        secret = "" if options["secret_file"] is None else read_secret(options["secret_file"])
        question = f"Rotate the secret of {app}? For 24 hours the present one signs too."
        if valid:
            question += f" So do {len(valid)} from before it, until their ends."
        make_sure_of(question, options, say=self.note)
        rotated = rotate(app.id, who, secret=secret, signing=options["signing"], force=options["force"])
        return base.Answer(
            document={
                "app": app.name,
                **new_signer(rotated.secret),
                "previous_valid_until": rotated.previous_valid_until,
                "previous_ends": list(rotated.ends),
            },
            lines=[f"The new {shown_secret(rotated.secret, of=str(app))}", _ends(rotated)],
        )


def _ends(rotated: Rotated) -> str:
    times = [f"{end:%Y-%m-%d %H:%M} UTC" for end in rotated.ends]
    if len(times) == 1:
        return f"The one before signs too until {times[0]}."
    return f"The {len(times)} before sign too, until {', '.join(times)}."
