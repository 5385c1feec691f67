"""The end of a run's record."""

import uuid
from typing import Any

from syncsvc.models import SyncRun
from syncsvc.store.statements import columns_of, fetch_one, row_of


def end_run(run_id: uuid.UUID, *, outcome: str, **record: Any) -> SyncRun:
    """Writes how a run ended and returns its row. In SQL, because the ORM's UPDATE returns no row."""
    columns = ", ".join(f"{column} = %({column})s" for column in ("outcome", *record))
    row = fetch_one(
        f"UPDATE syncsvc_syncrun r SET finished_at = statement_timestamp(), {columns}"
        f" WHERE id = %(run)s RETURNING {columns_of(SyncRun, 'r')}",
        {**record, "outcome": outcome, "run": run_id},
    )
    if row is None:
        raise SyncRun.DoesNotExist(f"Run {run_id} was deleted while it went on.")
    return row_of(SyncRun, row)
