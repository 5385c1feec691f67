"""The common part of the commands that delete: they say first what the delete takes."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.db.models import Model

from syncsvc.management import base
from syncsvc.management.asking import add_asker, add_yes, asker, make_sure_of
from syncsvc.models import App, Repository, Subscription
from syncsvc.operations.removal import remove, what_goes
from syncsvc.words import counted

type Row = App | Repository | Subscription


class Command(base.Command):
    command: ClassVar[str]
    metavar: ClassVar[str]
    find: Callable[[str], Row]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar=self.metavar, help="or its id")
        add_yes(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        row = self.find(options["name"])
        name, rows = str(row), type(row)._default_manager.filter(pk=row.pk)
        who = asker(self.command, options)
        goes = {part.model: part.count() for part in what_goes(rows)[1:]}
        with_it = ", ".join(counted(count, _noun(model)) for model, count in goes.items() if count)
        question = f"Delete {row._meta.verbose_name} {name}?{f' With it go: {with_it}.' if with_it else ''}"
        make_sure_of(f"{question} This cannot be undone.", options, say=self.note)
        document = {"id": row.pk, "name": name, "with_it": {_key(model): n for model, n in goes.items()}}
        remove(rows, who)
        return base.Answer(document=document, lines=[f"{name} deleted{f', with {with_it}' if with_it else ''}"])


def _noun(model: type[Model]) -> str:
    return str(model._meta.verbose_name)


def _key(model: type[Model]) -> str:
    return str(model._meta.verbose_name_plural).replace(" ", "_")
