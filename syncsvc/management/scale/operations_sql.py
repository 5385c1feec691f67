"""Bulk operations and their items. The last two run: a re-sync whose items are what runs now, and a retry."""

PLAN = """
CREATE TEMP TABLE scale_operation ON COMMIT DROP AS
SELECT n, md5('operation:' || %(seed)s || ':' || n)::uuid AS id, n <= %(operations)s AS ended,
  CASE WHEN n = %(operations)s + 1 OR mod(n, 4) = 0 AND n <= %(operations)s THEN 'resync' ELSE 'retry' END AS kind,
  mod(n, 12) = 5 AND n <= %(operations)s AS cancelled,
  CASE WHEN n <= %(operations)s THEN least(%(subscriptions)s, 3 + floor(exp(6.5 * power(random(), 2)))::int)
       ELSE greatest(1, %(subscriptions)s / 8) END AS size,
  CASE WHEN n <= %(operations)s THEN now() - interval '14 days' * (%(operations)s - n + 1) / (%(operations)s + 1)
       ELSE now() - interval '4 minutes' END AS created_at
FROM generate_series(1, %(operations)s + 2) n
"""

# An ended operation has any subscriptions; one that runs has what its kind takes, none in both.
ITEMS = """
INSERT INTO syncsvc_operationitem (operation_id, subscription_id, app_id, app_name, repository_name, turn, status,
  released_at, applied_at, run_id, reason, error_kind, files, settled_at)
WITH chosen AS (
  SELECT o.*, s.id AS subscription_id, s.n AS subscription_n, s.app_id, s.app_n, s.repository_n, s.state,
    random() AS roll,
    row_number() OVER (PARTITION BY o.n, s.app_n ORDER BY s.n) AS turn
  FROM scale_operation o JOIN scale_subscription s
    ON mod(s.n * 7919 + o.n * 104729, %(subscriptions)s) < o.size
    AND (o.ended OR s.state IN ('synced', CASE o.kind WHEN 'retry' THEN 'failed' ELSE 'syncing' END))
    OR NOT o.ended AND o.kind = 'resync' AND s.state = 'syncing'
), decided AS (
  SELECT c.*, CASE
    WHEN ended AND cancelled AND roll < 0.4 THEN 'cancelled'
    WHEN NOT ended AND state = 'syncing' THEN 'running'
    WHEN NOT ended AND (state = 'failed' OR roll < 0.4) THEN 'waiting'
    WHEN roll > 0.93 THEN 'failed' WHEN roll > 0.9 THEN 'skipped' ELSE 'succeeded' END AS status
  FROM chosen c
)
SELECT d.id, d.subscription_id, d.app_id, a.name, r.name, d.turn, d.status,
  CASE WHEN d.status = 'running' THEN d.created_at + interval '1 second' END,
  CASE WHEN d.kind = 'resync' AND d.status IN ('running', 'succeeded', 'failed')
       THEN d.created_at + interval '2 seconds' END,
  CASE WHEN d.status = 'running' THEN run.id
       WHEN d.status IN ('succeeded', 'failed') THEN md5('gone:' || d.n || ':' || d.subscription_n)::uuid END,
  CASE d.status WHEN 'skipped' THEN 'It was synced meanwhile.' WHEN 'failed' THEN c.text ELSE '' END,
  CASE d.status WHEN 'failed' THEN c.kind ELSE '' END,
  CASE d.status WHEN 'succeeded' THEN floor(200 * power(d.roll, 3)) ELSE 0 END,
  CASE WHEN d.status NOT IN ('waiting', 'running') THEN d.created_at + interval '3 minutes' * d.roll END
FROM decided d
JOIN scale_app a ON a.n = d.app_n JOIN scale_repository r ON r.n = d.repository_n
LEFT JOIN scale_run run ON run.open AND run.subscription_id = d.subscription_id
LEFT JOIN scale_cause c ON c.kind = (%(endpoint_kinds)s::text[])[1 + mod(d.subscription_n, %(endpoint_kinds_count)s)]
ORDER BY d.n, d.turn, d.subscription_n
"""

OPERATIONS = """
INSERT INTO syncsvc_operation (id, kind, status, scope, scope_text, asked_by, source, address, idempotency_key,
  max_running, abort_first, reason, total, waiting, running, succeeded, failed, skipped, cancelled, files, version,
  created_at, finished_at)
SELECT o.id, o.kind, CASE WHEN NOT o.ended THEN 'running' WHEN o.cancelled THEN 'cancelled' ELSE 'finished' END,
  jsonb_build_object('kind', o.kind),
  CASE o.kind WHEN 'retry' THEN 'all failed subscriptions' ELSE 'all subscriptions' END,
  (array['mira','jonas','operator','nightly script'])[1 + mod(o.n, 4)],
  (array['console','command','api'])[1 + mod(o.n, 3)], ('192.0.2.' || 1 + mod(o.n, 200))::inet, NULL, 50, 50, '',
  i.total, i.waiting, i.running, i.succeeded, i.failed, i.skipped, i.cancelled, i.files, i.total + 1, o.created_at,
  CASE WHEN o.ended THEN o.created_at + interval '3 minutes' END
FROM scale_operation o JOIN (
  SELECT operation_id, count(*) AS total, sum(files) AS files, count(*) FILTER (WHERE status = 'waiting') AS waiting,
    count(*) FILTER (WHERE status = 'running') AS running, count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'skipped') AS skipped,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled
  FROM syncsvc_operationitem GROUP BY operation_id) i ON i.operation_id = o.id
"""
