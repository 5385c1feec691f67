"""The statements that move an operation's items and its counts together.

Whatever locks several rows locks the operation, then items, then subscriptions: no two can wait for each other.
"""
# ruff: noqa: S608 - constants, put together from constants

MOVE_COUNTS = """
  version = o.version + 1,
  status = CASE WHEN {waiting} + {running} > 0 THEN o.status ELSE 'finished' END,
  finished_at = CASE WHEN {waiting} + {running} > 0 THEN NULL ELSE now() END
"""

RELEASE = """
WITH o AS (
  SELECT op.id, op.kind, op.max_running - op.running - (
           SELECT count(*) FROM syncsvc_operationitem i
           WHERE i.operation_id = op.id AND i.status = 'waiting' AND i.released_at IS NOT NULL) AS room
  FROM syncsvc_operation op WHERE op.id = %(operation)s AND op.status = 'running' FOR UPDATE OF op
), candidates AS (
  SELECT i.id, s.id AS subscription_id, s.repository_id
  FROM o
  JOIN syncsvc_operationitem i ON i.operation_id = o.id AND i.status = 'waiting' AND i.released_at IS NULL
  JOIN syncsvc_subscription s ON s.id = i.subscription_id
  JOIN syncsvc_app a ON a.id = s.app_id
  JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE s.status <> 'syncing' AND (o.kind = 'resync' OR s.status <> 'synced')
    AND (s.queued_at IS NULL OR s.queued_at < now() - make_interval(secs => %(requeue)s))
    AND s.is_active AND a.is_active AND r.is_active
    AND (a.circuit_opened_at IS NULL OR a.circuit_until <= now())
    AND NOT EXISTS (SELECT FROM syncsvc_operationitem other
                    WHERE other.subscription_id = s.id AND other.released_at IS NOT NULL
                      AND other.status IN ('waiting', 'running'))
  ORDER BY i.turn, i.id
  LIMIT (SELECT greatest(room, 0) FROM o)
  FOR UPDATE OF s SKIP LOCKED
), released AS (
  UPDATE syncsvc_operationitem i SET released_at = now() FROM candidates c WHERE i.id = c.id
), queued AS (
  UPDATE syncsvc_subscription s SET queued_at = now() FROM candidates c WHERE s.id = c.subscription_id
)
SELECT subscription_id, repository_id FROM candidates
"""

SKIP_UNFIT = (
    """
WITH op AS (
  SELECT id, kind FROM syncsvc_operation WHERE id = %(operation)s AND status = 'running' FOR UPDATE
), unfit AS (
  SELECT i.id, CASE
      WHEN s.id IS NULL THEN 'The subscription was deleted.'
      WHEN NOT a.is_active THEN 'The app is paused.'
      WHEN NOT r.is_active THEN 'The repository is paused.'
      WHEN NOT s.is_active THEN 'The subscription is paused.'
      ELSE 'All is well: it was synced meanwhile.' END AS reason
  FROM op
  JOIN syncsvc_operationitem i ON i.operation_id = op.id AND i.status = 'waiting'
  LEFT JOIN syncsvc_subscription s ON s.id = i.subscription_id
  LEFT JOIN syncsvc_app a ON a.id = s.app_id
  LEFT JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE s.id IS NULL OR NOT (a.is_active AND r.is_active AND s.is_active)
     OR (op.kind = 'retry' AND s.status = 'synced')
  FOR UPDATE OF i SKIP LOCKED
), skipped AS (
  UPDATE syncsvc_operationitem i SET status = 'skipped', reason = unfit.reason, settled_at = now(), released_at = NULL
  FROM unfit WHERE i.id = unfit.id AND i.status = 'waiting' RETURNING i.id
), n AS (SELECT count(*)::int AS n FROM skipped)
UPDATE syncsvc_operation o SET waiting = o.waiting - n, skipped = o.skipped + n,
"""
    + MOVE_COUNTS.format(waiting="(o.waiting - n)", running="o.running")
    + """
FROM n WHERE o.id = %(operation)s AND n > 0 RETURNING n
"""
)

SETTLE_ITEM = """
WITH op AS (
  SELECT id FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem WHERE run_id = %(run)s AND status = 'running')
  FOR UPDATE
), settled AS (
  UPDATE syncsvc_operationitem i SET status = %(status)s, reason = %(reason)s, error_kind = %(kind)s,
    files = i.files + %(files)s, settled_at = now(), released_at = NULL
  FROM op WHERE i.operation_id = op.id AND i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id
)
UPDATE syncsvc_operation o SET running = o.running - 1, {status} = o.{status} + 1, files = o.files + %(files)s,
  version = o.version + 1,
  status = CASE WHEN o.waiting + o.running - 1 > 0 THEN o.status
                WHEN o.status = 'cancelling' THEN 'cancelled' ELSE 'finished' END,
  finished_at = CASE WHEN o.waiting + o.running - 1 > 0 THEN NULL ELSE now() END
FROM settled WHERE o.id = settled.operation_id RETURNING o.id
"""

# In a cancelling operation nothing waits any more.
PUT_BACK_ITEM = """
WITH o AS (
  SELECT op.id, op.status = 'cancelling' AS cancelling, op.status = 'running' AS goes_on
  FROM syncsvc_operation op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  WHERE i.run_id = %(run)s AND i.status = 'running' FOR UPDATE OF op
), back AS (
  UPDATE syncsvc_operationitem i SET run_id = NULL,
    status = CASE WHEN cancelling THEN 'cancelled' ELSE 'waiting' END,
    settled_at = CASE WHEN cancelling THEN now() END,
    released_at = CASE WHEN %(released)s AND goes_on THEN now() END
  FROM o WHERE i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id
)
UPDATE syncsvc_operation op SET running = op.running - 1, version = op.version + 1,
  waiting = op.waiting + (NOT cancelling)::int, cancelled = op.cancelled + cancelling::int,
  status = CASE WHEN cancelling AND op.running = 1 THEN 'cancelled' ELSE op.status END,
  finished_at = CASE WHEN cancelling AND op.running = 1 THEN now() END
FROM o, back WHERE op.id = o.id RETURNING op.id
"""

# What release did to a subscription, its queued_at, goes with the mark.
_TAKE_MARKS_OFF = """
  unqueued AS (
    UPDATE syncsvc_subscription s SET queued_at = NULL FROM marked
    WHERE s.id = marked.subscription_id AND marked.released_at IS NOT NULL AND s.status <> 'syncing'
  )
"""

CANCEL = (
    """
WITH o AS (
  SELECT id FROM syncsvc_operation
  WHERE id = %(operation)s AND status IN ('running', 'paused', 'cancelling') FOR UPDATE
), marked AS (
  SELECT i.id, i.subscription_id, i.released_at FROM syncsvc_operationitem i JOIN o ON o.id = i.operation_id
  WHERE i.status = 'waiting' FOR UPDATE OF i
), cancelled AS (
  UPDATE syncsvc_operationitem i SET status = 'cancelled', released_at = NULL, settled_at = now()
  FROM marked WHERE i.id = marked.id RETURNING i.id
),"""
    + _TAKE_MARKS_OFF
    + """, n AS (SELECT count(*)::int AS n FROM cancelled)
UPDATE syncsvc_operation op SET waiting = op.waiting - n, cancelled = op.cancelled + n, version = op.version + 1,
  status = CASE WHEN op.running > 0 THEN 'cancelling' ELSE 'cancelled' END,
  finished_at = CASE WHEN op.running > 0 THEN NULL ELSE now() END
FROM o, n WHERE op.id = o.id RETURNING 1
"""
)

PAUSE = (
    """
WITH o AS (
  SELECT id FROM syncsvc_operation WHERE id = %(operation)s AND status = 'running' FOR UPDATE
), marked AS (
  SELECT i.id, i.subscription_id, i.released_at FROM syncsvc_operationitem i JOIN o ON o.id = i.operation_id
  WHERE i.status = 'waiting' AND i.released_at IS NOT NULL FOR UPDATE OF i
), held AS (
  UPDATE syncsvc_operationitem i SET released_at = NULL FROM marked WHERE i.id = marked.id
),"""
    + _TAKE_MARKS_OFF
    + """
UPDATE syncsvc_operation op SET status = 'paused', reason = %(reason)s, version = op.version + 1
FROM o WHERE op.id = o.id RETURNING 1
"""
)
