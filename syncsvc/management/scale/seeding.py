"""Writes it all, in one transaction, each table by a statement or two: millions of rows never pass through Python."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from django.db import connection, transaction

from syncsvc.delivery.signing import new_secret
from syncsvc.management.scale import causes, operations_sql, plan_sql, rows_sql
from syncsvc.management.scale.sizes import Sizes
from syncsvc.models.fields import Sealed

PLAN = (
    *(plan_sql.APPS, plan_sql.REPOSITORIES, plan_sql.SUBSCRIPTIONS, plan_sql.FILES, plan_sql.INDEXES),
    *(plan_sql.CAUSES, plan_sql.RUNS, operations_sql.PLAN),
)
TABLES = {
    "syncsvc_app": rows_sql.APPS,
    "syncsvc_repository": rows_sql.REPOSITORIES,
    "syncsvc_snapshot": rows_sql.SNAPSHOTS,
    "syncsvc_subscription": rows_sql.SUBSCRIPTIONS,
    "syncsvc_syncrun": rows_sql.RUNS,
    "syncsvc_deliveryattempt": rows_sql.ATTEMPTS,
    "syncsvc_deliveredfile": rows_sql.LEDGER,
    "syncsvc_operationitem": operations_sql.ITEMS,
    "syncsvc_operation": operations_sql.OPERATIONS,
}
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "syncsvc/sync/pipeline.py", line 88, in run_subscription\n'
    "    plan = plan_changes(claimed)\n"
    "KeyError: 'tree'\n"
)


class Seeded(NamedTuple):
    """A table that has been filled."""

    table: str
    rows: int
    seconds: float


def seed(sizes: Sizes, seed: int) -> Iterator[Seeded]:
    """Fills table by table; all of it, or after an error nothing, is there."""
    values = _values(sizes, seed)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '256MB'")
        cursor.execute("SELECT setseed(%s)", [seed % 1000 / 1000])
        for sql in PLAN:
            cursor.execute(sql, values)
        for table, sql in TABLES.items():
            began = time.monotonic()
            cursor.execute(sql, values)
            rows = cursor.rowcount
            if table == "syncsvc_snapshot":
                cursor.execute(rows_sql.SNAPSHOTS_BEFORE, values)
            yield Seeded(table, rows, time.monotonic() - began)


def settle() -> Iterator[Seeded]:
    """Statistics, and what pages are visible to all: as autovacuum leaves tables that have been there for a while."""
    with connection.cursor() as cursor:
        for table in TABLES:
            began = time.monotonic()
            # In a transaction, as tests run, there is no VACUUM.
            cursor.execute(f"{'ANALYZE' if connection.in_atomic_block else 'VACUUM (ANALYZE)'} {table}")
            yield Seeded(table, 0, time.monotonic() - began)


def _values(sizes: Sizes, seed: int) -> dict[str, Any]:
    return {
        **asdict(sizes),
        "seed": str(seed),
        "of_each_app": sizes.subscriptions_of_each_app(),
        "secret": Sealed.seal(new_secret()).token,
        "traceback": TRACEBACK,
        "git_kinds": causes.OF_GIT,
        "endpoint_kinds": causes.OF_ENDPOINTS,
        "endpoint_kinds_count": len(causes.OF_ENDPOINTS),
        "retried_kinds": causes.RETRIED,
        "unsent_kinds": causes.UNSENT,
        "kinds": [cause.kind.value for cause in causes.CAUSES],
        "statuses": [cause.status for cause in causes.CAUSES],
        "texts": [cause.text for cause in causes.CAUSES],
    }
