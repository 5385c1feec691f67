"""The reasons for which an operation's items wait: one statement, a row for each reason and each app or host."""

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
# passes over an item; then counts them. Locks nothing. Called for the page and the document of an operation.
WAITING = f"""
WITH op AS (
  SELECT id, status FROM syncsvc_operation WHERE id = %(operation)s
), item AS (
  SELECT i.app_name, i.released_at, s.status, r.host, op.status = 'paused' AS paused,
    {QUEUED_SQL} AS queued,
    {THROTTLE_LASTS_UNTIL_SQL} AS throttled_until,
    CASE WHEN a.circuit_opened_at IS NOT NULL THEN greatest(a.circuit_until, a.probe_until) END AS circuit_until,
    (SELECT h.quiet_until FROM syncsvc_remotehost h WHERE h.name = r.host) AS quiet_until,
    i.released_at IS NULL AND EXISTS (
      SELECT FROM syncsvc_operationitem other
      WHERE other.subscription_id = i.subscription_id AND other.released_at IS NOT NULL) AS elsewhere
  FROM op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  LEFT JOIN syncsvc_subscription s ON s.id = i.subscription_id
  LEFT JOIN syncsvc_app a ON a.id = s.app_id
  LEFT JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE i.status = 'waiting'
), named AS (
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
)
SELECT count(*), reason,
  CASE WHEN reason IN ('throttled', 'circuit') THEN app_name WHEN reason = 'host' THEN host ELSE '' END AS name,
  max(CASE reason WHEN 'throttled' THEN throttled_until WHEN 'circuit' THEN circuit_until
                  WHEN 'host' THEN quiet_until END)
FROM named GROUP BY 2, 3 ORDER BY 1 DESC, 2, 3 LIMIT %(shown)s
"""


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
    values: dict[str, Any] = {"operation": operation_id, "requeue": settings.REQUEUE_AFTER, "shown": SHOWN}
    with connection.cursor() as cursor:
        cursor.execute(WAITING, values)
        return [Waits(*row) for row in cursor.fetchall()]
