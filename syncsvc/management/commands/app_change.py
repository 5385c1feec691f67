"""Changes a client app."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.app_profile import add_profile, capped_note, flag_of, profile_given, profile_of
from syncsvc.management.asking import add_asker, asker
from syncsvc.management.changing import add_texts, change, texts_given, words
from syncsvc.management.selectors import find_app
from syncsvc.operations.apps import PROFILE_NAMES, save_app


class Command(base.Command):
    help = "Changes a client app. What failed at the old URL is tried at the new one within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="NAME", help="or its id")
        add_texts(parser, name="its new name", url="where its webhooks go from now on")
        add_profile(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app, who = find_app(options["app"]), asker("app_change", options)
        values = {**texts_given(options, "name", "url"), **profile_given(options)}
        if not values:
            flags = ", ".join(["--name", "--url", *map(flag_of, PROFILE_NAMES)])
            raise Refused("usage", f"Say what to change: {flags}.")
        taken = f"There is an app {options['name']!r} already; choose another name."
        changed = change(app, values, who, taken=taken, save=lambda columns: save_app(app, who, changed=columns))
        if "url" in changed:
            self.note_if_nobody_works()
        if "timeout" in values and (note := capped_note(app)):
            self.note(note)
        document = {"id": app.id, "name": app.name, "url": app.url, **profile_of(app), "changed": changed}
        said = f"{app} changed: {words(changed)}" if changed else f"{app} is like that already"
        return base.Answer(document=document, lines=[said])
