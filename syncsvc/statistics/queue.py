"""What runs, is queued, due or waits, in one statement: all of one instant, whatever is searched for."""

from typing import Any, Literal, get_args

from django.conf import settings
from django.db import connection

from syncsvc.models.status import ACTIVE_SQL, QUEUED_SQL, THROTTLE_LASTS_UNTIL_SQL

SHOWN = 100  # rows; who wants others searches
State = Literal["running", "queued", "due", "waiting"]
STATES: tuple[State, ...] = get_args(State)
COLUMNS = ("states", "matching", "rows", "lanes", "workers", "polls")

# Everything that runs or wants a run, by state; then the numbers of each queue and worker, and of polls. `lanes` are
# grouped by repository only where its shard matters. A throttled app's subscriptions wait for the end of that, whatever
# they are due or woken for; an operator's single retry does not. Locks nothing. Called every 2 s while the queue is
# looked at, for all tabs with the same search together.
QUEUE = f"""
WITH clock (now) AS MATERIALIZED (
  SELECT statement_timestamp()
), bulk AS (
  SELECT subscription_id FROM syncsvc_operationitem WHERE released_at IS NOT NULL
), found AS MATERIALIZED (
  SELECT s.id, a.name || '/' || r.name AS name, s.repository_id, s.retry_count, s.error_kind, s.trigger, s.asked_by,
         s.lease_expires_at, b.subscription_id IS NOT NULL AS bulk, x.id AS run, coalesce(x.worker, '') AS worker,
         s.status <> 'syncing' AND w.until > clock.now AS throttled,
         CASE WHEN s.status = 'syncing' THEN 'running'
              WHEN w.until > clock.now THEN 'waiting'
              WHEN {QUEUED_SQL} THEN 'queued'
              WHEN s.due_at <= clock.now THEN 'due' ELSE 'waiting' END AS state,
         CASE WHEN s.status = 'syncing' THEN x.started_at
              WHEN w.until > clock.now THEN greatest(w.until, s.due_at)
              WHEN {QUEUED_SQL} THEN s.queued_at ELSE s.due_at END AS moment
  FROM clock CROSS JOIN syncsvc_subscription s
  JOIN syncsvc_app a ON a.id = s.app_id JOIN syncsvc_repository r ON r.id = s.repository_id
  CROSS JOIN LATERAL (SELECT CASE WHEN s.trigger <> 'retry' THEN {THROTTLE_LASTS_UNTIL_SQL} END AS until) w
  LEFT JOIN bulk b ON b.subscription_id = s.id
  LEFT JOIN syncsvc_syncrun x ON x.subscription_id = s.id AND x.outcome = '' AND s.status = 'syncing'
  WHERE s.status = 'syncing' OR {ACTIVE_SQL} AND (s.due_at IS NOT NULL OR {QUEUED_SQL})
), matching AS MATERIALIZED (
  SELECT * FROM found
  WHERE (%(state)s = '' OR state = %(state)s) AND (name ILIKE %(like)s OR worker ILIKE %(like)s)
)
SELECT
  (SELECT json_object_agg(state, t) FROM (
     SELECT state, count(*) AS count, min(moment) AS moment FROM found GROUP BY state) t),
  (SELECT count(*) FROM matching),
  (SELECT json_agg(t) FROM (
     SELECT * FROM matching ORDER BY array_position(%(states)s::text[], state), moment, name LIMIT %(shown)s) t),
  (SELECT json_agg(t) FROM (
     SELECT CASE WHEN %(shards)s > 1 THEN repository_id END AS repository_id, bulk, state, count(*) AS count
     FROM found WHERE state IN ('running', 'queued') GROUP BY 1, 2, 3) t),
  (SELECT json_agg(t) FROM (
     SELECT worker, count(*) AS count, min(moment) AS moment, min(lease_expires_at) AS lease_at
     FROM found WHERE state = 'running' GROUP BY worker) t),
  (SELECT json_build_object(
     'due', count(*) FILTER (WHERE due_at <= clock.now),
     'moment', min(due_at) FILTER (WHERE due_at <= clock.now),
     'running', count(*) FILTER (WHERE lease_expires_at > clock.now))
   FROM clock CROSS JOIN syncsvc_repository
   WHERE is_active AND (due_at <= clock.now OR lease_expires_at > clock.now))
"""


def queue_numbers(*, state: str = "", search: str = "") -> dict[str, Any]:
    """By the names of COLUMNS; moments are text of ISO 8601. `search` is part of APP/REPOSITORY or of a worker's name.

    A moment is when it began, was queued, or is due.
    """
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with connection.cursor() as cursor:
        cursor.execute(
            QUEUE,
            {
                "requeue": settings.REQUEUE_AFTER,
                "state": state,
                "states": list(STATES),
                "like": f"%{escaped}%",
                "shown": SHOWN,
                "shards": settings.SYNC_QUEUES,
            },
        )
        row = cursor.fetchone()
    return dict(zip(COLUMNS, row, strict=True))
