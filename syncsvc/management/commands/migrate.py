"""Django's `migrate`, as the owner of the tables; then the application's role may read and write them."""

from typing import Any

from django.core.management.commands.migrate import Command as DjangoCommand

from syncsvc.management.owner import as_owner, let_in


class Command(DjangoCommand):
    def execute(self, *args: Any, **options: Any) -> str | None:
        with as_owner() as application:  # checks, which come before `handle`, ask the database too
            output = super().execute(*args, **options)
            if application and not (options["plan"] or options["check_unapplied"]):
                let_in(application)
            return output
