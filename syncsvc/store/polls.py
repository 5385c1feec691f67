"""Polls: what is due, and what waits because its host is left alone. Times are the database's."""

import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.conf import settings

from syncsvc.store.conditions import REMOTE_IS_DOUBTFUL, in_shards
from syncsvc.store.remote_hosts import SPREAD_SECONDS
from syncsvc.store.statements import execute, fetch_all

_DUE = """r.is_active AND r.due_at <= statement_timestamp()
    AND (r.lease_expires_at IS NULL OR r.lease_expires_at < statement_timestamp())"""

# Puts polls off whose host is left alone, but for those that somebody asked for. Locks repositories in the order of
# their ids. Called once a second by each worker process.
_PUT_OFF = f"""
UPDATE syncsvc_repository r SET due_at = waiting.until + random() * make_interval(secs => %(spread)s)
FROM (
  SELECT r.id, greatest(h.circuit_until, h.quiet_until) AS until
  FROM syncsvc_remotehost h JOIN syncsvc_repository r ON r.host = h.name
  WHERE greatest(h.circuit_until, h.quiet_until) > statement_timestamp() AND {_DUE} AND r.queued_at IS NULL
  ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
) waiting
WHERE r.id = waiting.id
"""

# The polls that are due, the longest first, of the shards of this worker. `full`: hosts that have their share of its
# places; `doubtful_too`: also remotes that failed last, or were never reached. Passed over, unless somebody asked for
# the poll: hosts that are left alone, and those whose probe is out. Locks nothing: the claim decides. Called whenever
# places are free, by the index repository_due.
_FIND = f"""
SELECT r.id, r.host, {REMOTE_IS_DOUBTFUL}, h.circuit_until IS NOT NULL
FROM syncsvc_repository r LEFT JOIN syncsvc_remotehost h ON h.name = r.host
WHERE {_DUE} AND r.id <> ALL (%(running)s::uuid[]) AND r.host <> ALL (%(full)s::text[])
  AND (%(doubtful_too)s OR NOT {REMOTE_IS_DOUBTFUL})
  AND (r.queued_at IS NOT NULL
       OR coalesce(greatest(h.circuit_until, h.probe_until, h.quiet_until) <= statement_timestamp(), TRUE))
  AND {in_shards("r.id")}
ORDER BY r.due_at LIMIT %(most)s
"""


class DuePoll(NamedTuple):
    """`is_doubtful`: the remote failed last, or was never reached. `is_probe`: its host's circuit is open."""

    id: uuid.UUID
    host: str
    is_doubtful: bool
    is_probe: bool


def put_off_polls() -> None:
    """Moves the polls of hosts that are left alone to the end of that time."""
    execute(_PUT_OFF, {"spread": SPREAD_SECONDS})


def due_polls(
    most: int,
    *,
    running: Collection[uuid.UUID] = (),
    full: Collection[str] = (),
    doubtful_too: bool = True,
    shards: Sequence[int] | None = None,
) -> list[DuePoll]:
    """Polls that may be claimed, at most so many; `running` are those of this process."""
    values = {
        "most": most,
        "running": list(running),
        "full": list(full),
        "doubtful_too": doubtful_too,
        "shards": None if shards is None else list(shards),
        "queues": settings.SYNC_QUEUES,
    }
    return [DuePoll(*row) for row in fetch_all(_FIND, values)]
