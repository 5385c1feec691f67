"""The end of a run that got everything across: subscription, run, item and counts move in one statement."""
# ruff: noqa: S608 - constants, put together from constants

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connection

from syncsvc.models.hot import columns_of, row_of

if TYPE_CHECKING:
    from syncsvc.models.operation import Operation
    from syncsvc.models.run import SyncRun

# What a run's record says beside its outcome.
RECORD = ("from_commit", "to_commit", "created", "updated", "deleted", "delivered", "requests", "bytes")
# What who is told of a settled item must know of its operation; in the model's order, as `from_db` wants it.
OPERATION = (
    *("id", "kind", "status", "max_running", "abort_percent", "abort_first", "total", "waiting", "running"),
    *("succeeded", "failed", "skipped", "cancelled", "files", "version"),
)

# The branch moved after the run had read where it stands. Who found that asked for a run, but a claim that waited for
# this row meanwhile took it with the repository as it had been.
_OVERTAKEN = """(r.head_moved_at IS DISTINCT FROM %(head_moved_at)s::timestamptz AND r.head_commit <> %(to_commit)s)"""


@dataclass(frozen=True, slots=True)
class Completed:
    """The run as it is now, and the operation whose item it moved; None where there is none."""

    run: "SyncRun | None"
    operation: "Operation | None"


@cache
def complete_sql() -> str:
    """The operation is locked before the subscription, as everywhere: `locked` is read to claim that row."""
    from syncsvc.models.run import SyncRun

    record = ", ".join(f"{name} = %({name})s" for name in RECORD)
    operation = ", ".join(f"counted.{name}" for name in OPERATION)
    returning = ", ".join(f"o.{name}" for name in OPERATION)
    return f"""
WITH op AS (
  SELECT id FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem WHERE run_id = %(run)s AND status = 'running')
  FOR UPDATE
), done AS (
  UPDATE syncsvc_subscription s SET lease_token = NULL, lease_expires_at = NULL, run_again = FALSE,
    status = CASE WHEN s.run_again OR {_OVERTAKEN} THEN 'pending' ELSE 'synced' END,
    due_at = CASE WHEN s.run_again OR {_OVERTAKEN} THEN statement_timestamp() END,
    allow_deletes = s.run_again AND s.allow_deletes,
    snapshot_id = %(snapshot)s::bigint, clean_snapshot_id = %(snapshot)s::bigint, clean_epoch = %(epoch)s,
    retry_count = 0, error_kind = '', last_error = '', failing_since = NULL, failed_at = NULL,
    failure_notified = FALSE, last_success_at = statement_timestamp(), approved_commit = '', approved_deletes = 0
  FROM (SELECT count(*) FROM op) AS locked, syncsvc_repository r
  WHERE s.id = %(subscription)s AND s.lease_token = %(token)s AND s.status = 'syncing' AND r.id = s.repository_id
  RETURNING s.id
), settled AS (
  UPDATE syncsvc_operationitem i SET status = 'succeeded', reason = '', error_kind = '',
    files = i.files + %(delivered)s, settled_at = statement_timestamp(), released_at = NULL
  FROM op, done WHERE i.operation_id = op.id AND i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id
), counted AS (
  UPDATE syncsvc_operation o SET running = o.running - 1, succeeded = o.succeeded + 1, files = o.files + %(delivered)s,
    version = o.version + 1,
    status = CASE WHEN o.waiting + o.running - 1 > 0 THEN o.status
                  WHEN o.status = 'cancelling' THEN 'cancelled' ELSE 'finished' END,
    finished_at = CASE WHEN o.waiting + o.running - 1 > 0 THEN NULL ELSE statement_timestamp() END
  FROM settled WHERE o.id = settled.operation_id RETURNING {returning}
), ended AS (
  UPDATE syncsvc_syncrun r SET outcome = 'synced', finished_at = statement_timestamp(), {record}
  FROM done WHERE r.id = %(run)s RETURNING r.*
)
SELECT {operation}, {columns_of(SyncRun, "ended")}
FROM done LEFT JOIN ended ON TRUE LEFT JOIN counted ON TRUE"""


def completed_from(row: tuple[Any, ...]) -> Completed:
    from syncsvc.models.operation import Operation
    from syncsvc.models.run import SyncRun

    counts, run = row[: len(OPERATION)], row[len(OPERATION) :]
    return Completed(
        run=None if run[0] is None else row_of(SyncRun, run),
        operation=None if counts[0] is None else Operation.from_db(connection.alias, list(OPERATION), counts),
    )
