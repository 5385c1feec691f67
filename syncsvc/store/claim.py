"""The claim: one statement takes the lease, opens the run, takes the operation's item and reads what the run needs.

Locks, in the order that every statement with several of them keeps: operation, item, subscription. Called by
`Job.claim` and `Job.claim_next_released`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings

from syncsvc.models import App, Repository, Snapshot, Subscription
from syncsvc.models.status import ACTIVE_SQL
from syncsvc.store.conditions import HOST_IS_NOT_QUIET, IS_DOUBTFUL, NOT_THROTTLED, in_shards
from syncsvc.store.statements import Row, columns_of, fetch_one, row_of, width_of

# The item that is in flight for one subscription, by the index item_released_once. `wanted` is the subscription, with
# or without an item.
_ITEM_OF_SUBSCRIPTION = """
WITH op AS (
  SELECT id, kind, asked_by FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem
              WHERE subscription_id = %(id)s AND released_at IS NOT NULL)
  FOR UPDATE
), item AS (
  SELECT i.id, i.status, i.operation_id, i.subscription_id, i.released_at, op.kind, op.asked_by,
    i.applied_at IS NULL AS fresh
  FROM op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  WHERE i.subscription_id = %(id)s AND i.released_at IS NOT NULL
  FOR UPDATE OF i
), wanted AS (
  SELECT one.id, item.id AS item_id FROM (VALUES (%(id)s::uuid)) AS one (id) LEFT JOIN item ON TRUE
)"""

# The claimable item that was released first, of any operation, by the index item_claimable.
# `barred`: apps that have their share of the worker's slots. `shards`: the shards whose mirrors this worker keeps.
# A subscription that waits for a fetch is taken when it is due as well, because that fetch may have failed.
# An item that another worker has locked is skipped.
_CLAIMABLE_ITEMS = f"""
  FROM syncsvc_operationitem i
  JOIN syncsvc_subscription s ON s.id = i.subscription_id
  JOIN syncsvc_app a ON a.id = s.app_id
  JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE i.released_at IS NOT NULL AND i.status = 'waiting' AND s.status <> 'syncing'
    AND (NOT s.awaits_fetch OR s.due_at <= statement_timestamp())
    AND {ACTIVE_SQL} AND s.app_id <> ALL (%(barred)s::uuid[]) AND {NOT_THROTTLED} AND {HOST_IS_NOT_QUIET}
    AND {in_shards("s.repository_id")}"""
_FIRST = "ORDER BY c.released_at, c.id LIMIT 1"

# As _ITEM_OF_SUBSCRIPTION for the first of _CLAIMABLE_ITEMS. The operation is locked first, so that its items are read
# again behind that lock.
_NEXT_ITEM = f"""
WITH claimable AS NOT MATERIALIZED (
  SELECT i.id, i.operation_id, i.released_at {_CLAIMABLE_ITEMS}
), op AS (
  SELECT id, kind, asked_by FROM syncsvc_operation
  WHERE id = (SELECT c.operation_id FROM claimable c {_FIRST}) FOR UPDATE
), item AS (
  SELECT i.id, i.status, i.operation_id, i.subscription_id, i.released_at, (SELECT kind FROM op) AS kind,
    (SELECT asked_by FROM op) AS asked_by, i.applied_at IS NULL AS fresh
  FROM claimable c JOIN syncsvc_operationitem i ON i.id = c.id
  WHERE c.operation_id = (SELECT id FROM op) AND i.released_at IS NOT NULL AND i.status = 'waiting'
  {_FIRST} FOR UPDATE OF i SKIP LOCKED
), wanted AS (
  SELECT subscription_id AS id, id AS item_id FROM item
)"""

# Conditions stand in the UPDATE itself: PostgreSQL checks them again for a row that a rival has just changed.
# An app that is throttled is passed over, but for an operator's single retry, which sends one request at once.
# An item that is claimed for the first time (`fresh`) applies its operation: a retry starts the count of tries again, a
# re-sync forgets the ledger by a new epoch.
_TAKE = f""", claimed AS (
  UPDATE syncsvc_subscription s SET
    status = 'syncing', lease_token = %(token)s,
    lease_expires_at = statement_timestamp() + make_interval(secs => %(lease)s),
    queued_at = NULL, due_at = NULL, run_again = FALSE, awaits_fetch = FALSE, stop_requested_at = NULL,
    trigger = coalesce(item.kind, s.trigger), asked_by = coalesce(item.asked_by, s.asked_by),
    epoch = s.epoch + CASE WHEN item.kind = 'resync' AND item.fresh THEN 1 ELSE 0 END,
    old_url_files = CASE WHEN item.kind = 'resync' AND item.fresh THEN 0 ELSE s.old_url_files END,
    retry_count = CASE WHEN item.fresh THEN 0 ELSE s.retry_count END,
    error_kind = CASE WHEN item.fresh THEN '' ELSE s.error_kind END,
    last_error = CASE WHEN item.fresh THEN '' ELSE s.last_error END,
    failed_at = CASE WHEN item.fresh THEN NULL ELSE s.failed_at END
  FROM syncsvc_app a, syncsvc_repository r, wanted LEFT JOIN item ON item.id = wanted.item_id
  WHERE s.id = wanted.id AND a.id = s.app_id AND r.id = s.repository_id AND {ACTIVE_SQL}
    AND ({NOT_THROTTLED} OR (s.trigger = 'retry' AND item.id IS NULL))
    AND ((s.status IN ('pending', 'failed') AND s.due_at <= statement_timestamp())
         OR (item.id IS NOT NULL AND s.status IN ('pending', 'failed', 'synced')))
  RETURNING s.*
), taken AS (
  UPDATE syncsvc_operationitem i SET
    status = 'running', run_id = %(run)s, applied_at = coalesce(i.applied_at, statement_timestamp())
  FROM item, claimed WHERE i.id = item.id
), counted AS (
  UPDATE syncsvc_operation o SET waiting = o.waiting - 1, running = o.running + 1, version = o.version + 1
  FROM item, claimed WHERE o.id = item.operation_id AND item.status = 'waiting'
), run AS (
  INSERT INTO syncsvc_syncrun (id, subscription_id, trigger, asked_by, epoch, deletes_allowed, worker)
  SELECT %(run)s, id, trigger, asked_by, epoch, allow_deletes, %(worker)s FROM claimed
)"""

# The models that a claim reads, by their alias, in the order of its columns.
_READ: dict[str, Any] = {"s": Subscription, "a": App, "r": Repository, "c": Snapshot}
_COLUMNS = ", ".join(columns_of(model, alias) for alias, model in _READ.items())
# The clock's time, not that of the statement's beginning, which may have waited for a lock: the worker reckons by it
# how far its own clock is off.
_GIVE = f"""
SELECT clock_timestamp(), item.released_at, {_COLUMNS}
FROM claimed s
JOIN syncsvc_app a ON a.id = s.app_id
JOIN syncsvc_repository r ON r.id = s.repository_id
LEFT JOIN item ON TRUE
LEFT JOIN syncsvc_snapshot c ON c.id = s.clean_snapshot_id"""

_CLAIM = _ITEM_OF_SUBSCRIPTION + _TAKE + _GIVE
_CLAIM_NEXT = _NEXT_ITEM + _TAKE + _GIVE

# The app and the host whose slots a run takes, asked before the claim. Called for each wake-up, so the ORM does not
# compose it.
_SHARE_OF = f"""
SELECT s.app_id, s.repository_id, r.host, EXISTS (
  SELECT FROM syncsvc_operationitem i WHERE i.subscription_id = s.id AND i.released_at IS NOT NULL
), {IS_DOUBTFUL}
FROM syncsvc_subscription s
JOIN syncsvc_app a ON a.id = s.app_id
JOIN syncsvc_repository r ON r.id = s.repository_id
WHERE s.id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The subscription, with its app, its repository and the snapshot that its ledger is clean at.

    `at` is the database's time; `released_at` is when an operation released this run's item, None for a live run.
    """

    subscription: Subscription
    at: datetime
    released_at: datetime | None


def claim(subscription_id: uuid.UUID, *, token: uuid.UUID, run_id: uuid.UUID, worker: str) -> Claimed | None:
    """Claims a pending or failed subscription that is due, or any idle one whose item an operation has released.

    None where neither holds, where it is paused, or where another worker runs it.
    """
    row = fetch_one(_CLAIM, {"id": subscription_id, **_claimant(token, run_id, worker)})
    return _claimed(row) if row else None


def claim_next_released(
    *,
    token: uuid.UUID,
    run_id: uuid.UUID,
    worker: str,
    barred: Sequence[uuid.UUID] = (),
    shards: Sequence[int] | None = None,
) -> Claimed | None:
    """Claims the subscription of the item that was released first.

    `barred` are apps to pass over; `shards` are the shards whose repositories are wanted, None for all.
    """
    choice = {
        "barred": list(barred),
        "shards": None if shards is None else list(shards),
        "queues": settings.SYNC_QUEUES,
    }
    row = fetch_one(_CLAIM_NEXT, {**choice, **_claimant(token, run_id, worker)})
    return _claimed(row) if row else None


class Share(NamedTuple):
    """The app and the remote whose shares of slots a run takes, and whether it is bulk work, or may take long."""

    app_id: uuid.UUID
    repository_id: uuid.UUID
    host: str
    in_bulk: bool
    is_doubtful: bool


def share_of(subscription_id: uuid.UUID) -> Share | None:
    """None for a deleted subscription."""
    row = fetch_one(_SHARE_OF, {"id": subscription_id})
    return Share(*row) if row else None


def _claimed(row: Row) -> Claimed:
    at, released_at, *columns = row
    parts: list[Any] = []
    for model in _READ.values():
        width = width_of(model)
        values, columns = tuple(columns[:width]), columns[width:]
        parts.append(None if values[0] is None else row_of(model, values))
    subscription, app, repository, snapshot = parts
    subscription.app, subscription.repository, subscription.clean_snapshot = app, repository, snapshot
    return Claimed(subscription, at, released_at)


def _claimant(token: uuid.UUID, run_id: uuid.UUID, worker: str) -> dict[str, Any]:
    return {"token": token, "lease": settings.LEASE_SECONDS, "run": run_id, "worker": worker[:100]}
