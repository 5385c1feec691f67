"""Writing the end of a run into its record."""

import uuid
from dataclasses import asdict, dataclass

from syncsvc.models import SyncRun
from syncsvc.store.statements import columns_of, fetch_one, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Commits, counts and bytes of content that a run's row keeps."""

    from_commit: str = ""
    to_commit: str = ""
    created: int = 0
    updated: int = 0
    deleted: int = 0
    delivered: int = 0
    requests: int = 0
    bytes: int = 0


# Writes how a run ended. In SQL, because the ORM's UPDATE returns no row. Locks the run. Called by `settle`.
_END = f"""
UPDATE syncsvc_syncrun r SET
  outcome = %(outcome)s, finished_at = statement_timestamp(),
  from_commit = %(from_commit)s, to_commit = %(to_commit)s,
  created = %(created)s, updated = %(updated)s, deleted = %(deleted)s,
  delivered = %(delivered)s, failed = %(failed)s, requests = %(requests)s, bytes = %(bytes)s,
  error_kind = %(error_kind)s, error = %(error)s, traceback = %(traceback)s
WHERE id = %(run)s RETURNING {columns_of(SyncRun, "r")}
"""


def end_run(
    run_id: uuid.UUID,
    *,
    outcome: SyncRun.Outcome,
    record: RunRecord,
    failed: int = 0,
    error_kind: str = "",
    error: str = "",
    traceback: str = "",
) -> SyncRun:
    """Writes how a run ended and returns its row; SyncRun.DoesNotExist where it was deleted meanwhile."""
    values = {
        "run": run_id,
        "outcome": outcome,
        "failed": failed,
        "error_kind": error_kind,
        "error": error,
        "traceback": traceback,
        **asdict(record),
    }
    row = fetch_one(_END, values)
    if row is None:
        raise SyncRun.DoesNotExist(f"Run {run_id} was deleted while it went on.")
    return row_of(SyncRun, row)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Files that the app took and did not take, requests, and bytes of content: of a run so far."""

    delivered: int = 0
    failed: int = 0
    requests: int = 0
    bytes: int = 0


def note_counts(run_id: uuid.UUID, counts: RunCounts) -> None:
    """Notes how far a run is that goes on, for people to see; its end writes the counts that hold."""
    SyncRun.objects.filter(id=run_id, outcome="").update(**asdict(counts))
