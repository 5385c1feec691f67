"""The end of a run that got everything across: subscription, run, item and counts move in one statement."""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime

from syncsvc.models import Operation, SyncRun
from syncsvc.store.conditions import OPERATION_OF_RUN, ends_without
from syncsvc.store.runs import RunRecord
from syncsvc.store.statements import columns_of, fetch_one, row_of, width_of

# The branch moved after the run had read where it stands. The poll that found the move asked for a run, but a claim
# that waited for this row meanwhile read the repository as it had been.
_OVERTAKEN = "(r.head_moved_at IS DISTINCT FROM %(head_moved_at)s::timestamptz AND r.head_commit <> %(to_commit)s)"

# The app moved while the run's last requests were on their way: what they brought is the old URL's. What is taken
# after the move is committed after it, since both lock the subscription; the move counts what was acknowledged before.
_HAS_MOVED = "(%(url)s::text <> '' AND a.url <> %(url)s::text)"
_ACKNOWLEDGED = """(SELECT count(*) FROM syncsvc_deliveredfile f
      WHERE f.subscription_id = s.id AND f.blob IS NOT NULL AND f.epoch = s.epoch)"""

# Locks the operation, then the subscription (`locked` is read so that the order holds), then updates the item.
# Called by `settle` for a run that ended as synced.
_COMPLETE = f"""
WITH op AS ({OPERATION_OF_RUN}
), done AS (
  UPDATE syncsvc_subscription s SET
    lease_token = NULL, lease_expires_at = NULL, run_again = FALSE, stop_requested_at = NULL,
    status = CASE WHEN s.run_again OR {_OVERTAKEN} THEN 'pending' ELSE 'synced' END,
    due_at = CASE WHEN s.run_again OR {_OVERTAKEN} THEN statement_timestamp() END,
    allow_deletes = s.run_again AND s.allow_deletes,
    snapshot_id = %(snapshot)s::bigint, clean_snapshot_id = %(snapshot)s::bigint, clean_epoch = %(epoch)s,
    clean_selection = %(selection)s,
    retry_count = 0, error_kind = '', last_error = '', failing_since = NULL, failed_at = NULL,
    failure_notified = FALSE, last_success_at = statement_timestamp(), approved_commit = '', approved_deletes = 0,
    old_url_files = CASE WHEN {_HAS_MOVED} THEN {_ACKNOWLEDGED} ELSE s.old_url_files END
  FROM (SELECT count(*) FROM op) AS locked, syncsvc_repository r, syncsvc_app a
  WHERE s.id = %(subscription)s AND s.lease_token = %(token)s AND s.status = 'syncing' AND r.id = s.repository_id
    AND a.id = s.app_id
  RETURNING s.id
), settled AS (
  UPDATE syncsvc_operationitem i SET
    status = 'succeeded', reason = '', error_kind = '', files = i.files + %(delivered)s,
    settled_at = statement_timestamp(), released_at = NULL
  FROM op, done WHERE i.operation_id = op.id AND i.run_id = %(run)s AND i.status = 'running'
  RETURNING i.operation_id
), counted AS (
  UPDATE syncsvc_operation o SET
    running = o.running - 1, succeeded = o.succeeded + 1, files = o.files + %(delivered)s, version = o.version + 1,
    {ends_without("o.waiting + o.running - 1")}
  FROM settled WHERE o.id = settled.operation_id RETURNING o.*
), ended AS (
  UPDATE syncsvc_syncrun r SET
    outcome = 'synced', finished_at = statement_timestamp(), from_commit = %(from_commit)s, to_commit = %(to_commit)s,
    created = %(created)s, updated = %(updated)s, deleted = %(deleted)s, delivered = %(delivered)s,
    requests = %(requests)s, bytes = %(bytes)s
  FROM done WHERE r.id = %(run)s RETURNING r.*
)
SELECT {columns_of(Operation, "counted")}, {columns_of(SyncRun, "ended")}
FROM done LEFT JOIN ended ON TRUE LEFT JOIN counted ON TRUE"""


@dataclass(frozen=True, slots=True)
class Completed:
    """The run's row after its end, and the operation whose item it moved; None where there is none."""

    run: SyncRun | None
    operation: Operation | None


def complete(
    subscription_id: uuid.UUID,
    *,
    token: uuid.UUID,
    run_id: uuid.UUID,
    snapshot_id: int | None,
    epoch: int,
    selection: str = "",
    record: RunRecord,
    head_moved_at: datetime | None = None,
    url: str = "",
) -> Completed | None:
    """syncing → synced: the app has everything of the snapshot. With run_again → pending, due now.

    `selection` is the digest of what decided which files were sent.
    `url` is the endpoint that took the run's files; blank where none were sent.

    Also pending where the repository's head has moved since `head_moved_at`, as this run has read it. Ends the run with
    its `record` and settles its operation's item. None where the lease is lost.
    """
    values = {
        "subscription": subscription_id,
        "token": token,
        "run": run_id,
        "snapshot": snapshot_id,
        "epoch": epoch,
        "selection": selection,
        "head_moved_at": head_moved_at,
        "url": url,
        **asdict(record),
    }
    row = fetch_one(_COMPLETE, values)
    if row is None:
        return None
    width = width_of(Operation)
    operation, run = row[:width], row[width:]
    return Completed(
        run=None if run[0] is None else row_of(SyncRun, run),
        operation=None if operation[0] is None else row_of(Operation, operation),
    )
