"""The claim: the one statement with which a run begins; and what is asked before it.

It locks the operation, then the item, then the subscription, as every statement does that locks several of them.
"""
# ruff: noqa: S608 - constants, put together from constants

from functools import cache

from django.db import models

from syncsvc.models.hot import Names, columns_of

# The item that is released for one subscription, whoever sent the wake-up: by the index item_released_once.
_RELEASED_FOR = """
WITH op AS (
  SELECT id, kind, asked_by FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem
              WHERE subscription_id = %(id)s AND released_at IS NOT NULL AND status IN ('waiting', 'running'))
  FOR UPDATE
), item AS (
  SELECT i.id, i.status, i.operation_id, i.subscription_id, i.released_at, op.kind, op.asked_by,
    i.applied_at IS NULL AS fresh
  FROM op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  WHERE i.subscription_id = %(id)s AND i.released_at IS NOT NULL AND i.status IN ('waiting', 'running')
  FOR UPDATE OF i
), wanted AS (
  SELECT one.id, item.id AS item_id FROM (VALUES (%(id)s::uuid)) AS one (id) LEFT JOIN item ON TRUE
)"""

# The first of those that any operation has released, by the index item_claimable. `barred` are apps that have their
# share of the worker's slots, `shards` those whose mirrors it keeps. One that waits for a fetch is taken when it is due
# as well: that fetch may have failed.
_FREE = """
  FROM syncsvc_operationitem i
  JOIN syncsvc_subscription s ON s.id = i.subscription_id
  JOIN syncsvc_app a ON a.id = s.app_id
  JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE i.released_at IS NOT NULL AND i.status = 'waiting' AND s.status <> 'syncing'
    AND (NOT s.awaits_fetch OR s.due_at <= statement_timestamp())
    AND s.is_active AND a.is_active AND r.is_active AND s.app_id <> ALL (%(barred)s::uuid[])
    AND (%(shards)s::int[] IS NULL
         OR ('x' || right(s.repository_id::text, 7))::bit(28)::int %% %(queues)s::int = ANY (%(shards)s::int[]))"""
_FIRST = "ORDER BY f.released_at, f.id LIMIT 1"
_NEXT_RELEASED = f"""
WITH free AS NOT MATERIALIZED (SELECT i.id, i.operation_id, i.released_at {_FREE}), op AS (
  SELECT id, kind, asked_by FROM syncsvc_operation
  WHERE id = (SELECT f.operation_id FROM free f {_FIRST}) FOR UPDATE
), item AS (
  SELECT i.id, i.status, i.operation_id, i.subscription_id, i.released_at, (SELECT kind FROM op) AS kind,
    (SELECT asked_by FROM op) AS asked_by, i.applied_at IS NULL AS fresh
  FROM free f JOIN syncsvc_operationitem i ON i.id = f.id
  WHERE f.operation_id = (SELECT id FROM op) AND i.released_at IS NOT NULL AND i.status = 'waiting'
  {_FIRST} FOR UPDATE OF i SKIP LOCKED
), wanted AS (
  SELECT subscription_id AS id, id AS item_id FROM item
)"""

_CLAIM = """, claimed AS (
  UPDATE syncsvc_subscription s SET status = 'syncing', lease_token = %(token)s,
    lease_expires_at = statement_timestamp() + make_interval(secs => %(lease)s), queued_at = NULL, due_at = NULL,
    run_again = FALSE, awaits_fetch = FALSE,
    trigger = coalesce(item.kind, s.trigger), asked_by = coalesce(item.asked_by, s.asked_by),
    epoch = s.epoch + CASE WHEN item.kind = 'resync' AND item.fresh THEN 1 ELSE 0 END,
    retry_count = CASE WHEN item.fresh THEN 0 ELSE s.retry_count END,
    error_kind = CASE WHEN item.fresh THEN '' ELSE s.error_kind END,
    last_error = CASE WHEN item.fresh THEN '' ELSE s.last_error END,
    failed_at = CASE WHEN item.fresh THEN NULL ELSE s.failed_at END
  FROM syncsvc_app a, syncsvc_repository r, wanted LEFT JOIN item ON item.id = wanted.item_id
  WHERE s.id = wanted.id AND s.is_active AND a.id = s.app_id AND a.is_active AND r.id = s.repository_id AND r.is_active
    AND ((s.status IN ('pending', 'failed') AND s.due_at <= statement_timestamp())
         OR (item.id IS NOT NULL AND s.status IN ('pending', 'failed', 'synced')))
  RETURNING s.*
), taken AS (
  UPDATE syncsvc_operationitem i SET status = 'running', run_id = %(run)s,
    applied_at = coalesce(i.applied_at, statement_timestamp())
  FROM item, claimed WHERE i.id = item.id
), counted AS (
  UPDATE syncsvc_operation o SET waiting = o.waiting - 1, running = o.running + 1, version = o.version + 1
  FROM item, claimed WHERE o.id = item.operation_id AND item.status = 'waiting'
), run AS (
  INSERT INTO syncsvc_syncrun (id, subscription_id, trigger, asked_by, epoch, from_commit, to_commit, outcome, created,
    updated, deleted, delivered, failed, requests, bytes, deletes_allowed, error_kind, error, traceback, worker)
  SELECT %(run)s, id, trigger, asked_by, epoch, '', '', '', 0, 0, 0, 0, 0, 0, 0, allow_deletes, '', '', '', %(worker)s
  FROM claimed
)"""


# psycopg takes a longer statement apart anew each time.
LONGEST = 4_096
# What a run has no use for; who reads it of a claimed row nevertheless gets it by a query of its own.
NOT_WANTED = {
    "Subscription": (
        *("created_at", "due_at", "queued_at", "asked_at", "last_success_at", "snapshot_id", "lease_expires_at"),
    ),
    "App": ("created_at", "pause_reason", "circuit_openings", "probe_until"),
    "Repository": ("created_at", "due_at", "queued_at", "lease_token", "lease_expires_at"),
    "Snapshot": (
        "tree",
        "bytes",
        "submodules",
        "long_paths",
        "previous_id",
        "created",
        "updated",
        "deleted",
        "taken_at",
    ),
}


@cache
def wanted_of_claimed() -> dict[str, tuple[type[models.Model], Names]]:
    """By their alias, the models that a claim reads, and which of their fields."""
    from syncsvc.models import App, Repository, Snapshot, Subscription

    read: dict[str, type[models.Model]] = {"s": Subscription, "a": App, "r": Repository, "c": Snapshot}
    return {alias: (model, _but(model, NOT_WANTED[model.__name__])) for alias, model in read.items()}


def _but(model: type[models.Model], unwanted: Names) -> Names:
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname not in unwanted)


@cache
def claim_sql(*, next_released: bool = False) -> str:
    """Claims `id`, or what comes next of what is released; gives back all that the run must know.

    The columns: the database's time, when the item was released (NULL: no operation), then those of subscription, app,
    repository, and the snapshot its ledger is clean at.
    """
    columns = ", ".join(columns_of(model, alias, only) for alias, (model, only) in wanted_of_claimed().items())
    sql = f"""{_NEXT_RELEASED if next_released else _RELEASED_FOR}{_CLAIM}
SELECT statement_timestamp(), item.released_at, {columns}
FROM claimed s JOIN syncsvc_app a ON a.id = s.app_id JOIN syncsvc_repository r ON r.id = s.repository_id
LEFT JOIN item ON TRUE LEFT JOIN syncsvc_snapshot c ON c.id = s.clean_snapshot_id"""
    return " ".join(sql.split())


# An item that is released for it, by the index item_released_once.
SHARE_OF = """
SELECT s.app_id, EXISTS (
  SELECT FROM syncsvc_operationitem i
  WHERE i.subscription_id = s.id AND i.released_at IS NOT NULL AND i.status IN ('waiting', 'running')
) FROM syncsvc_subscription s WHERE s.id = %s
"""
