"""How many statements a run takes: few where nothing is new, and a few a group of 200 files."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from syncsvc.models import Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from tests.sync.world import World


class Counter:
    """Counts the statements of every thread's connection."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        with self._lock:
            self.statements.append(sql)
        return execute(sql, params, many, context)


@contextmanager
def counting() -> Iterator[list[str]]:
    counter = Counter()

    def count_there_too(connection: BaseDatabaseWrapper, **_: object) -> None:
        if counter not in connection.execute_wrappers:
            connection.execute_wrappers.append(counter)

    connection_created.connect(count_there_too)
    try:
        with connection.execute_wrapper(counter):
            yield counter.statements
    finally:
        connection_created.disconnect(count_there_too)


def statements_of_a_run(world: World) -> list[str]:
    ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC)
    with counting() as statements:
        run = run_subscription(world.id, worker="test")
    assert run is not None
    assert run.outcome == "synced"
    # The keeper renews all leases of the process every few seconds, whatever the run does.
    beside = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "SELECT 1", "UPDATE syncsvc_subscription SET lease_expires_at")
    return [sql for sql in statements if not sql.startswith(beside)]


@pytest.mark.parametrize("files", [1, 300])
def test_a_run_that_finds_no_change_takes_few_statements_however_many_files_there_are(world: World, files: int) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(files)})
    world.run()

    statements = statements_of_a_run(world)

    assert len(statements) == 2, "\n".join(sql[:150] for sql in statements)


def test_a_first_run_takes_a_few_statements_a_group_of_200_files(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(200)})
    small = len(statements_of_a_run(world))
    world.repo.commit({f"{n}": b"2" for n in range(1, 3)} | {f"x{n}": b"1" for n in range(1000)})

    large = len(statements_of_a_run(world))

    assert small < 25
    assert large - small <= 5 * 4, "a mark, a record and little else for each further group"
