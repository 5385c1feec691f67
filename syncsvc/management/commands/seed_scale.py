"""Fills an empty database with what a large installation has, to see that the console stays quick."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db import connection

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.owner import as_owner
from syncsvc.management.scale.seeding import Seeded, seed, settle
from syncsvc.management.scale.sizes import Sizes
from syncsvc.models import App

LARGEST = 10.0


class Command(base.Command):
    help = (
        "Fills an EMPTY database with invented apps, runs and files, to try the console at scale. Never where you work."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--scale", type=_scale, default=1.0, help="1 is 500 apps and 5,000,000 files (default: 1)")
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same rows (default: 1)")
        parser.add_argument(
            "--into", metavar="DATABASE", help="the database's name, as consent; not asked with DEBUG=1"
        )
        parser.add_argument("--yes", action="store_true", help="also where there are apps already")

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        database = str(connection.settings_dict["NAME"])
        _refuse_without_consent(database, options["into"])
        if not options["yes"] and App.objects.exists():
            raise Refused(
                "conflict", f"The database {database} has apps already; --yes adds invented ones beside them."
            )
        totals: dict[str, float] = {"rows": 0, "seconds": 0.0}
        tables = _counted(_steps(Sizes.scaled(options["scale"]), options["seed"]), totals)
        return base.Answer(document={"tables": tables, "totals": totals}, lines=_lines(tables, totals))


def _refuse_without_consent(database: str, into: str | None) -> None:
    """Nothing tells a database in production from another: somebody has to name it."""
    if into is not None and into != database:
        raise Refused("usage", f"--into names {into}, but DATABASE_URL leads to {database}.")
    if into is None and not settings.DEBUG:
        message = f"This fills the database {database} with invented rows, which only deleting it takes out again."
        raise Refused("confirm", f"{message} If that is what you want: --into {database}")


def _steps(sizes: Sizes, number: int) -> Iterator[Seeded]:
    if App.objects.filter(name__endswith=f"-{number}-00001").exists():
        raise Refused("conflict", f"Seed {number} is in there already; choose another with --seed.")
    with as_owner():  # who alone may make the temporary tables of the plan, and analyze
        yield from seed(sizes, number)
        yield from settle()


def _counted(steps: Iterator[Seeded], totals: dict[str, float]) -> Iterator[dict[str, Any]]:
    began = time.monotonic()
    for step in steps:
        totals["rows"] += step.rows
        totals["seconds"] = round(time.monotonic() - began, 1)
        yield {"table": step.table, "rows": step.rows, "seconds": round(step.seconds, 1)}


def _lines(tables: Iterator[dict[str, Any]], totals: dict[str, float]) -> Iterator[str]:
    for table in tables:
        what = f"{table['rows']:,} rows" if table["rows"] else "analyzed"
        yield f"{table['table']}: {what}, {table['seconds']:.1f} s"
    yield f"{totals['rows']:,} rows in {totals['seconds']:.0f} s"


def _scale(text: str) -> float:
    value = float(text)
    if not 0 < value <= LARGEST:
        raise ValueError
    return value


_scale.__name__ = f"number above 0, up to {LARGEST:g}"  # what argparse calls it
