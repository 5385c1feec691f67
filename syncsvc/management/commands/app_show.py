"""Shows a client app."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from syncsvc.management import base
from syncsvc.management.authentication import certificate_note
from syncsvc.management.selectors import find_app
from syncsvc.models import App
from syncsvc.operations.app_document import app_document
from syncsvc.store.clock import database_time


class Command(base.Command):
    help = "Shows a client app: its URL and limits, what signs and until when with public keys, headers by their names."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="NAME", help="or its id")

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app = find_app(options["app"])
        document = app_document(app, database_time())
        return base.Answer(document=document, lines=_lines(app, document))


def _lines(app: App, document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{app.name} ({app.id}){'' if app.is_active else ', paused'}: {app.url}"
    for one in document["signers"]:
        ends = f" until {one['until']:%Y-%m-%d %H:%M} UTC" if one["until"] else ""
        yield f"signs by {one['signing']}{ends}{': ' + one['public_key'] if one['public_key'] else ''}"
    if names := document["headers"]:
        yield f"headers: {', '.join(names)}"
    for one in document["ca_certificate"]:
        yield f"trusts {one['subject']}, until {one['ends_at']:%Y-%m-%d}"
    if one := document["client_certificate"]:
        yield f"client certificate {one['subject']}, until {one['ends_at']:%Y-%m-%d}"
    if note := certificate_note(app):
        yield note
