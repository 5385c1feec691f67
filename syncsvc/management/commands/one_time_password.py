"""A new one-time password for somebody who cannot log in."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from syncsvc.exceptions import Refused
from syncsvc.logins.one_time import LASTS, new_password, one_time_hash
from syncsvc.management import base
from syncsvc.management.asking import add_yes, asker, make_sure_of


class Command(base.Command):
    help = "Gives a user of the console a new password, good for one login within a day, and shows it this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", metavar="USERNAME", help="of the console")
        add_yes(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        users = get_user_model()
        name = options["user"]
        user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
        if user is None:
            raise Refused("not_found", f"There is no user {name!r} in the console.")
        if not (user.is_active and user.is_staff):
            raise Refused(
                "invalid", f"{name} may not log in to the console; an administrator changes that under Users."
            )
        question = f"Give {name} a new password? The present one opens nothing from now on, and ends all sessions."
        make_sure_of(question, options, say=self.note)
        password = new_password()
        user.password = one_time_hash(password)
        with transaction.atomic():
            user.save(update_fields=["password"])
            asker("one_time_password", options).log(user, "Gave a one-time password.")
        hours = int(LASTS.total_seconds() // 3600)
        return base.Answer(
            document={"user": name, "password": password, "hours": hours},
            lines=[f"The password of {name}, shown this once, good for one login within {hours} hours: {password}"],
        )
