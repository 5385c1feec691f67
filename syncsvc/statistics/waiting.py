"""The reasons for which an operation's items wait: a row for each reason and each app or host, or for each item."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db import connection

from syncsvc.models.status import QUEUED_SQL, THROTTLE_LASTS_UNTIL_SQL

Reason = Literal["paused", "throttled", "host", "released", "circuit", "running", "elsewhere", "queued", "turn"]
SHOWN = 100  # groups, the largest first; apps and hosts are many

# Names for each waiting item what it waits for, in the order in which a release, or the claim of a released item,
# passes over an item. Locks nothing. Called as the beginning of the two statements below.
_NAMED = f"""
WITH op AS (
  SELECT id, status FROM syncsvc_operation WHERE id = %(operation)s
), item AS (
  SELECT i.id, i.app_name, i.released_at, s.status, r.host, op.status = 'paused' AS paused,
    {QUEUED_SQL} AS queued,
    {THROTTLE_LASTS_UNTIL_SQL} AS throttled_until,
    CASE WHEN a.circuit_opened_at IS NOT NULL THEN greatest(a.circuit_until, a.probe_until) END AS circuit_until,
    h.quiet_until,
    i.released_at IS NULL AND EXISTS (
      SELECT FROM syncsvc_operationitem other
      WHERE other.subscription_id = i.subscription_id AND other.released_at IS NOT NULL) AS elsewhere
  FROM op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  LEFT JOIN syncsvc_subscription s ON s.id = i.subscription_id
  LEFT JOIN syncsvc_app a ON a.id = s.app_id
  LEFT JOIN syncsvc_repository r ON r.id = s.repository_id
  LEFT JOIN syncsvc_remotehost h ON h.name = r.host
  WHERE i.status = 'waiting' AND (%(items)s::bigint[] IS NULL OR i.id = ANY (%(items)s::bigint[]))
), reasoned AS (
  SELECT item.*, CASE
    WHEN paused THEN 'paused'
    WHEN throttled_until > statement_timestamp() THEN 'throttled'
    WHEN quiet_until > statement_timestamp() THEN 'host'
    WHEN released_at IS NOT NULL THEN 'released'
    WHEN circuit_until > statement_timestamp() THEN 'circuit'
    WHEN status = 'syncing' THEN 'running'
    WHEN elsewhere THEN 'elsewhere'
    WHEN queued THEN 'queued'
    ELSE 'turn' END AS reason
  FROM item
), named AS (
  SELECT id, reason,
    CASE WHEN reason IN ('throttled', 'circuit') THEN app_name WHEN reason = 'host' THEN host ELSE '' END AS name,
    CASE reason WHEN 'throttled' THEN throttled_until WHEN 'circuit' THEN circuit_until
                WHEN 'host' THEN quiet_until END AS until
  FROM reasoned
)
"""

# Counts the waiting items by reason. Locks nothing. Called for the page and the document of an operation.
_OF_OPERATION = f"""{_NAMED}
SELECT count(*), reason, name, max(until) FROM named GROUP BY reason, name ORDER BY 1 DESC, reason, name LIMIT %(shown)s
"""

# Gives a row for each of some items that wait. Locks nothing. Called for the rows of an operation's page.
_OF_ITEMS = f"{_NAMED} SELECT id, 1, reason, name, until FROM named"


@dataclass(frozen=True, slots=True)
class Waits:
    """The number of items that wait for one reason.

    `name` is that of the app or the host, blank where the reason is about neither. `until` is when the wait ends; None
    where that is not known.
    """

    count: int
    reason: Reason
    name: str
    until: datetime | None


def waiting_of(operation_id: UUID) -> list[Waits]:
    """The largest group first."""
    return [Waits(*row) for row in _rows(_OF_OPERATION, operation_id, items=None, shown=SHOWN)]


def waiting_items(operation_id: UUID, items: Sequence[int]) -> dict[int, Waits]:
    """Of these items of the operation those that wait, by their ids."""
    return {id: Waits(*row) for id, *row in _rows(_OF_ITEMS, operation_id, items=list(items))}


def _rows(sql: str, operation_id: UUID, **more: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"operation": operation_id, "requeue": settings.REQUEUE_AFTER, **more})
        return list(cursor.fetchall())
