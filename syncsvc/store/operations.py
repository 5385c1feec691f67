"""Verbs of bulk operations: each moves items and counts in one statement, so that these add up at every instant."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction

from syncsvc.models import Operation
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.store.operation_statements import (
    CANCEL,
    CANCEL_ITEM,
    FAIL_WAITING_OF_APP,
    FAIL_WAITING_OF_HOST,
    LOCK_RUNNING,
    LOCK_WAITING_FOR_APP,
    PAUSE,
    PUT_BACK_ITEM,
    RELEASE,
    SETTLE_ITEM_AS_FAILED,
    SKIP_UNFIT,
    TAKE_BACK,
)
from syncsvc.store.statements import columns_of, fetch_all, fetch_one, row_of

REASON_LETTERS = 500

# Reads an operation. Locks it. Called before its items are moved, so that they are read as they are afterwards.
_LOCK = f"SELECT {columns_of(Operation, 'o')} FROM syncsvc_operation o WHERE id = %(id)s FOR UPDATE"

# Makes one item for each subscription of a query (the ORM's own, with positional parameters), numbered within its app
# (`turn`), and counts them. Locks the subscriptions against a delete in the order of their ids, as a delete does: what
# is deleted meanwhile is left out. Called when an operation begins.
_FREEZE = """
WITH chosen (id, app_id, app_name, repository_name) AS (
  {query} FOR KEY SHARE OF syncsvc_subscription
), frozen AS (
  INSERT INTO syncsvc_operationitem (operation_id, subscription_id, app_id, app_name, repository_name, turn)
  SELECT %s, id, app_id, app_name, repository_name, row_number() OVER (PARTITION BY app_id ORDER BY repository_name)
  FROM chosen RETURNING id
), n AS (
  SELECT count(*)::int AS n FROM frozen
)
UPDATE syncsvc_operation SET total = n, waiting = n FROM n WHERE syncsvc_operation.id = %s RETURNING total
"""


class Released(NamedTuple):
    """A subscription that may run now, as its wake-up needs it."""

    id: uuid.UUID
    repository_id: uuid.UUID


def lock_operation(operation_id: uuid.UUID) -> Operation | None:
    """Reads the operation and locks it until the transaction ends."""
    return _operation(_LOCK, {"id": operation_id})


def freeze_items(operation_id: uuid.UUID, chosen: SubscriptionQuerySet) -> int:
    """Makes one item for each chosen subscription of a new operation, and returns their number."""
    columns = ("id", "app_id", "app__name", "repository__name")
    query, values = chosen.order_by("id").values(*columns).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(_FREEZE.replace("{query}", query), [*values, operation_id, operation_id])
        return int(cursor.fetchone()[0])


def release_items(operation_id: uuid.UUID) -> tuple[list[Released], bool]:
    """Marks waiting items as released, apps in turn, up to the operation's window; False where the window is full.

    While others wait an app gets a quarter of the window; in a second pass, what is left of it. Lock the operation
    before.
    """
    released: list[Released] = []
    for within_share in (True, False):
        while batch := _release(operation_id, within_share):
            room, found = batch
            released += found
            if len(found) == room:
                return released, False
            if not found:
                break
    return released, True


def take_back_left_alone(operation_id: uuid.UUID) -> int:
    """Takes the mark off what no worker may claim for long; how many. Lock the operation before."""
    return _moved(TAKE_BACK, {"operation": operation_id, "wait": settings.THROTTLE_WAIT_SECONDS})


def skip_unfit(operation_id: uuid.UUID) -> int:
    """Settles as skipped what needs no run or can have none any more; how many. Lock the operation before."""
    return _moved(SKIP_UNFIT, {"operation": operation_id, "requeue": settings.REQUEUE_AFTER})


def settle_item_as_failed(run_id: uuid.UUID, *, reason: str, error_kind: str, files: int) -> Operation | None:
    """Settles the item of this run; its operation afterwards, None for a run without an item."""
    values = {"run": run_id, "reason": reason[:REASON_LETTERS], "kind": error_kind, "files": files}
    return _operation(SETTLE_ITEM_AS_FAILED, values)


def cancel_item(run_id: uuid.UUID, *, reason: str, files: int) -> Operation | None:
    """Cancels the item of a run that an operator stopped; its operation afterwards."""
    values = {"run": run_id, "reason": reason[:REASON_LETTERS], "kind": "", "files": files}
    return _operation(CANCEL_ITEM, values)


def put_back_item(run_id: uuid.UUID, *, released: bool, files: int = 0) -> Operation | None:
    """Lets the item of a run that did not end by itself wait again; under a cancel it is cancelled.

    `released` keeps it released: the next free slot takes it. `files` were delivered meanwhile.
    """
    return _operation(PUT_BACK_ITEM, {"run": run_id, "released": released, "files": files})


def lock_operations_waiting_for(app_id: uuid.UUID, *, run_id: uuid.UUID) -> list[uuid.UUID]:
    """Locks the running operations with items that wait for this app, and that of the run's item, until the end."""
    return [id for (id,) in fetch_all(LOCK_WAITING_FOR_APP, {"app": app_id, "run": run_id})]


def fail_items_waiting_for(
    app_id: uuid.UUID, operation_ids: Sequence[uuid.UUID], *, reason: str, error_kind: str
) -> list[Operation]:
    """Settles as failed what these operations have waiting for the app's endpoint; those that changed, afterwards.

    A time is added to the reason. Lock the operations before, then the app's subscriptions.
    """
    values = {"app": app_id, "operations": list(operation_ids), "reason": reason, "kind": error_kind}
    return [row_of(Operation, row) for row in fetch_all(FAIL_WAITING_OF_APP, values)]


@transaction.atomic
def fail_items_waiting_for_host(host: str, *, reason: str, error_kind: str) -> list[Operation]:
    """Settles as failed what running operations have waiting for remotes of this host; those that changed, afterwards.

    A time is added to the reason.
    """
    operations = [id for (id,) in fetch_all(LOCK_RUNNING, {})]
    values = {"host": host, "operations": operations, "reason": reason, "kind": error_kind}
    return [row_of(Operation, row) for row in fetch_all(FAIL_WAITING_OF_HOST, values)]


def put_back_items(run_ids: Iterable[uuid.UUID]) -> None:
    """Lets the items of runs that dead workers left wait again."""
    for run_id in run_ids:
        put_back_item(run_id, released=True)


@transaction.atomic
def cancel_operation(operation_id: uuid.UUID) -> bool:
    """Cancels every item that no worker has claimed; those subscriptions are as they were. False if too late."""
    lock_operation(operation_id)
    return _moved(CANCEL, {"operation": operation_id}) == 1


@transaction.atomic
def pause_operation(operation_id: uuid.UUID, reason: str = "") -> bool:
    """Takes the mark off every item that no worker has claimed, and releases no more."""
    lock_operation(operation_id)
    return _moved(PAUSE, {"operation": operation_id, "reason": reason[:REASON_LETTERS]}) == 1


def _release(operation_id: uuid.UUID, within_share: bool) -> tuple[int, list[Released]]:
    values = {"operation": operation_id, "requeue": settings.REQUEUE_AFTER, "within_share": within_share}
    rows = fetch_all(RELEASE, values)
    return (rows[0][0] if rows else 0), [Released(id, repository) for _, id, repository in rows if id]


def _moved(sql: str, values: Mapping[str, Any]) -> int:
    row = fetch_one(sql, values)
    return int(row[0]) if row else 0


def _operation(sql: str, values: Mapping[str, Any]) -> Operation | None:
    """Of a statement that returns the operation's columns."""
    row = fetch_one(sql, values)
    return row_of(Operation, row) if row else None
