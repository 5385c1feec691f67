"""Changes a client app."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.app_profile import add_profile, capped_note, flag_of, profile_given, profile_of
from syncsvc.management.asking import add_asker, asker
from syncsvc.management.changing import add_texts, change, texts_given, words
from syncsvc.management.selectors import find_app
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE_NAMES, save_app
from syncsvc.operations.moves import OldUrl, dismiss_old_url, old_url_of


class Command(base.Command):
    help = "Changes a client app. What failed at the old URL is tried at the new one within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="NAME", help="or its id")
        add_texts(parser, name="its new name", url="where its webhooks go from now on")
        add_profile(parser)
        parser.add_argument("--dismiss-old-url", action="store_true", help="say no more of what the old URL had")
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app, who = find_app(options["app"]), asker("app_change", options)
        values = {**texts_given(options, "name", "url"), **profile_given(options)}
        if not values and not options["dismiss_old_url"]:
            flags = ", ".join(["--name", "--url", *map(flag_of, PROFILE_NAMES), "--dismiss-old-url"])
            raise Refused("usage", f"Say what to change: {flags}.")
        taken = f"There is an app {options['name']!r} already; choose another name."
        changed = change(app, values, who, taken=taken, save=lambda columns: save_app(app, who, changed=columns))
        dismissed = dismiss_old_url(app.id, who) if options["dismiss_old_url"] else None
        if "url" in changed:
            self.note_if_nobody_works()
        if "timeout" in values and (note := capped_note(app)):
            self.note(note)
        old = old_url_of(app.id)
        document = {
            **{"id": app.id, "name": app.name, "url": app.url, **profile_of(app), "changed": changed},
            **{"old_url_files": old.files, "old_url_subscriptions": old.subscriptions},
        }
        return base.Answer(document=document, lines=_lines(app, changed, old, dismissed))


def _lines(app: App, changed: list[str], old: OldUrl, dismissed: OldUrl | None) -> Iterator[str]:
    if changed:
        yield f"{app} changed: {words(changed)}"
    elif dismissed is None:
        yield f"{app} is like that already"
    if dismissed is not None:
        yield f"Dismissed: {dismissed}" if dismissed.files else "There is nothing of an old URL to dismiss"
    if "url" in changed and old.files:
        yield (
            f"The old URL had acknowledged {old}: the new one does not have them. Send them with"
            f" `manage.py resync --app {app}`, or `manage.py app_change {app} --dismiss-old-url`."
        )
