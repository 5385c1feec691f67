"""The common part of the commands that change a row."""

from argparse import ArgumentParser
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from django.db import models, transaction

from syncsvc.management.adding import refusing
from syncsvc.operations.asker import Asker

type Save = Callable[[Collection[str]], None]


def add_texts(parser: ArgumentParser, **helps: str) -> None:
    """Options that are the text of a column of that name."""
    for column, help in helps.items():
        parser.add_argument(f"--{column}", metavar=column[0].upper(), help=help)


def texts_given(options: Mapping[str, Any], *columns: str) -> dict[str, str]:
    return {column: options[column] for column in columns if options[column] is not None}


def change(row: models.Model, values: Mapping[str, Any], asker: Asker, *, taken: str, save: Save) -> list[str]:
    """Validates the row with these values and saves what differs; returns the names of the columns that do.

    Refused: `invalid`; `conflict`, with the words `taken`, where another row has that name.
    """
    before = {column: getattr(row, column) for column in values}
    for column, value in values.items():
        setattr(row, column, value)
    with refusing(taken):
        # What else is stored may have been allowed once, and is not the question here.
        row.full_clean(exclude={field.name for field in row._meta.concrete_fields} - set(values))
        changed = [column for column in values if getattr(row, column) != before[column]]
        if changed:
            with transaction.atomic():
                save(changed)
                asker.log(row, f"Changed {words(changed)}.")
    return changed


def words(columns: Sequence[str]) -> str:
    """`url, max in flight`."""
    return ", ".join(column.replace("_", " ") for column in columns)
