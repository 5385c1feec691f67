"""A look at what was changed while runs go on, for all runs of a process in one statement."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from syncsvc.models import App
from syncsvc.models.status import ACTIVE_SQL
from syncsvc.store.statements import Row, columns_of, fetch_all, row_of
from syncsvc.store.throttles import STATE_COLUMNS, Throttled, throttled_of

# Reads what operators and endpoints have changed around runs that go on. Locks nothing. Called once a second by each
# process that has runs.
_LOOK = f"""
SELECT s.lease_token, s.stop_requested_at IS NOT NULL, {ACTIVE_SQL}, r.url, r.branch,
  {STATE_COLUMNS}, {columns_of(App, "a")}
FROM syncsvc_subscription s
JOIN syncsvc_app a ON a.id = s.app_id
JOIN syncsvc_repository r ON r.id = s.repository_id
WHERE s.lease_token = ANY(%(tokens)s::uuid[]) AND s.status = 'syncing'
"""


@dataclass(frozen=True, slots=True)
class Look:
    """How things stand around a run: whether an operator stopped it, a pause, its app, and a wait that is asked for.

    `remote` is the repository's URL and branch.
    """

    is_stopped: bool
    is_active: bool
    remote: tuple[str, str]
    app: App
    throttled: Throttled | None


def look(tokens: Sequence[uuid.UUID]) -> dict[uuid.UUID, Look]:
    """By lease token; a run whose lease is lost has none."""
    return {row[0]: _look(row) for row in fetch_all(_LOOK, {"tokens": list(tokens)})}


def _look(row: Row) -> Look:
    _, is_stopped, is_active, url, branch, remaining, silent, *columns = row
    throttled = throttled_of(remaining, silent) if remaining is not None else None
    return Look(is_stopped, is_active, (url, branch), row_of(App, tuple(columns)), throttled)
