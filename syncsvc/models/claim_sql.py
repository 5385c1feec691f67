"""The claim: the one statement with which a run begins; and what is asked before it."""

CLAIM = """
WITH op AS (
  SELECT id, kind, asked_by FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem
              WHERE subscription_id = %(id)s AND released_at IS NOT NULL AND status IN ('waiting', 'running'))
  FOR UPDATE
), item AS (
  SELECT i.id, i.status, i.operation_id, op.kind, op.asked_by, i.applied_at IS NULL AS fresh
  FROM op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  WHERE i.subscription_id = %(id)s AND i.released_at IS NOT NULL AND i.status IN ('waiting', 'running')
  FOR UPDATE OF i
), claimed AS (
  UPDATE syncsvc_subscription s SET status = 'syncing', lease_token = %(token)s,
    lease_expires_at = statement_timestamp() + make_interval(secs => %(lease)s), queued_at = NULL, due_at = NULL,
    run_again = FALSE, awaits_fetch = FALSE,
    trigger = coalesce(item.kind, s.trigger), asked_by = coalesce(item.asked_by, s.asked_by),
    epoch = s.epoch + CASE WHEN item.kind = 'resync' AND item.fresh THEN 1 ELSE 0 END,
    retry_count = CASE WHEN item.fresh THEN 0 ELSE s.retry_count END,
    error_kind = CASE WHEN item.fresh THEN '' ELSE s.error_kind END,
    last_error = CASE WHEN item.fresh THEN '' ELSE s.last_error END,
    failed_at = CASE WHEN item.fresh THEN NULL ELSE s.failed_at END
  FROM syncsvc_app a, syncsvc_repository r, (VALUES (1)) AS one (row) LEFT JOIN item ON TRUE
  WHERE s.id = %(id)s AND s.is_active AND a.id = s.app_id AND a.is_active AND r.id = s.repository_id AND r.is_active
    AND ((s.status IN ('pending', 'failed') AND s.due_at <= statement_timestamp())
         OR (item.id IS NOT NULL AND s.status IN ('pending', 'failed', 'synced')))
  RETURNING s.id, s.epoch, s.trigger, s.asked_by, s.allow_deletes
), taken AS (
  UPDATE syncsvc_operationitem i SET status = 'running', run_id = %(run)s,
    applied_at = coalesce(i.applied_at, statement_timestamp())
  FROM item, claimed WHERE i.id = item.id
), counted AS (
  UPDATE syncsvc_operation o SET waiting = o.waiting - 1, running = o.running + 1, version = o.version + 1
  FROM item, claimed WHERE o.id = item.operation_id AND item.status = 'waiting'
)
INSERT INTO syncsvc_syncrun (id, subscription_id, trigger, asked_by, epoch, from_commit, to_commit, outcome, created,
  updated, deleted, delivered, failed, requests, bytes, deletes_allowed, error_kind, error, traceback, worker)
SELECT %(run)s, id, trigger, asked_by, epoch, '', '', '', 0, 0, 0, 0, 0, 0, 0, allow_deletes, '', '', '', %(worker)s
FROM claimed
"""

# An item that is released for it, by the index item_released_once.
SHARE_OF = """
SELECT s.app_id, EXISTS (
  SELECT FROM syncsvc_operationitem i
  WHERE i.subscription_id = s.id AND i.released_at IS NOT NULL AND i.status IN ('waiting', 'running')
) FROM syncsvc_subscription s WHERE s.id = %s
"""
