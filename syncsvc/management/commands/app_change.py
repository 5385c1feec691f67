"""Changes a client app."""

from argparse import ArgumentParser
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.app_profile import add_profile, capped_note, flag_of, profile_given
from syncsvc.management.asking import add_asker, asker
from syncsvc.management.authentication import (
    add_authentication,
    add_forgetting,
    authentication_given,
    certificate_note,
    check_authentication,
    flags,
    kept,
)
from syncsvc.management.changing import add_texts, change, texts_given, words
from syncsvc.management.selectors import find_app
from syncsvc.models import App
from syncsvc.operations.app_document import authentication_of, profile_of
from syncsvc.operations.apps import PROFILE_NAMES, save_app
from syncsvc.operations.asker import Asker
from syncsvc.operations.moves import OldUrl, dismiss_old_url, old_url_of


class Command(base.Command):
    help = "Changes a client app. What failed at the old URL is tried at the new one within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="NAME", help="or its id")
        add_texts(parser, name="its new name", url="where its webhooks go from now on")
        add_profile(parser)
        add_authentication(parser)
        add_forgetting(parser)
        parser.add_argument("--dismiss-old-url", action="store_true", help="say no more of what the old URL had")
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app, who = find_app(options["app"]), asker("app_change", options)
        values = {**texts_given(options, "name", "url"), **profile_given(options), **authentication_given(options)}
        if not values and not options["dismiss_old_url"]:
            known = ", ".join(["--name", "--url", *map(flag_of, PROFILE_NAMES), *flags(), "--dismiss-old-url"])
            raise Refused("usage", f"Say what to change: {known}.")
        taken = f"There is an app {options['name']!r} already; choose another name."
        dropped: list[str] = []

        def save(columns: Collection[str]) -> None:
            check_authentication(app)
            dropped.extend(_save(app, who, columns, keep=kept(options)))

        changed = change(app, values, who, taken=taken, save=save)
        dismissed = dismiss_old_url(app.id, who) if options["dismiss_old_url"] else None
        if "url" in changed:
            self.note_if_nobody_works()
        if "timeout" in values and (note := capped_note(app)):
            self.note(note)
        if "client_certificate" in values and (note := certificate_note(app)):
            self.note(note)
        old = old_url_of(app.id)
        document = {
            **{"id": app.id, "name": app.name, "url": app.url, **profile_of(app), **authentication_of(app)},
            **{"changed": changed, "dropped": dropped},
            **{"old_url_files": old.files, "old_url_subscriptions": old.subscriptions},
        }
        return base.Answer(document=document, lines=_lines(app, changed, dropped, old, dismissed))


def _save(app: App, who: Asker, columns: Collection[str], *, keep: bool | None) -> Collection[str]:
    try:
        return save_app(app, who, changed=columns, keep_authentication=keep)
    except Refused as refusal:
        if refusal.kind != "confirm":
            raise
        raise Refused(
            "confirm", f"{refusal} Add --keep-authentication, or --drop-authentication, or give new ones."
        ) from None


def _lines(app: App, changed: list[str], dropped: list[str], old: OldUrl, dismissed: OldUrl | None) -> Iterator[str]:
    if changed:
        yield f"{app} changed: {words(changed)}"
    if dropped:
        yield f"Forgotten, because the new URL is another host's: {words(dropped)}"
    if not changed and dismissed is None:
        yield f"{app} is like that already"
    if dismissed is not None:
        yield f"Dismissed: {dismissed}" if dismissed.files else "There is nothing of an old URL to dismiss"
    if "url" in changed and old.files:
        yield (
            f"The old URL had acknowledged {old}: the new one does not have them. Send them with"
            f" `manage.py resync --app {app}`, or `manage.py app_change {app} --dismiss-old-url`."
        )
