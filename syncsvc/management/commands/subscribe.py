"""Lets an app follow a repository."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from syncsvc.management import base
from syncsvc.management.adding import refusing
from syncsvc.management.asking import asker
from syncsvc.management.selectors import find_app, find_repository
from syncsvc.models import AuditEntry, Subscription
from syncsvc.operations.subscribing import subscribe


class Command(base.Command):
    help = "Lets an app follow a repository; its first run starts at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", metavar="APP", help="name or id")
        parser.add_argument("repository", metavar="REPOSITORY", help="name or id")

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        app, repository = find_app(options["app"]), find_repository(options["repository"])
        subscription = Subscription(app=app, repository=repository)
        with refusing(f"{subscription} exists already; `manage.py sync {subscription}` asks for a run of it."):
            subscription.full_clean()
            with transaction.atomic():
                subscribe(subscription)
                asker("subscribe", options).log(subscription, "Added.", action=AuditEntry.Action.ADDED)
        self.note_if_nobody_is_woken()
        row = {
            "id": subscription.id,
            "app": app.name,
            "repository": repository.name,
            "status": subscription.status,
        }
        when = "it is paused, and runs when it is resumed" if subscription.paused else "its first run starts now"
        return base.Answer(document=row, lines=[f"{subscription} added; {when}"])
