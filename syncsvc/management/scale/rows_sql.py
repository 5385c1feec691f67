"""The rows proper, written from the plan. Every column without a default of the database's own is named."""

APPS = """
INSERT INTO syncsvc_app (id, name, url, secret, max_batch, max_in_flight, is_active, pause_reason, created_at,
  failure_streak, circuit_opened_at, circuit_until, circuit_openings, previous_secrets)
SELECT id, name, 'https://' || host || '/syncsvc/' || name, %(secret)s, max_batch, 16, is_active,
  CASE WHEN is_active THEN '' ELSE 'The client moves house.' END, now() - interval '400 days' * random(),
  CASE WHEN circuit_open THEN 8 WHEN in_trouble THEN 2 ELSE 0 END,
  CASE WHEN circuit_open THEN now() - interval '25 minutes' END,
  CASE WHEN circuit_open THEN now() + interval '5 minutes' END, CASE WHEN circuit_open THEN 4 ELSE 0 END,
  '[]'
FROM scale_app
"""

# Polls are far away: a scheduler that runs beside this does not ask thousands of remotes that do not exist.
REPOSITORIES = """
INSERT INTO syncsvc_repository (id, name, url, branch, username, known_hosts, is_active, created_at, due_at,
  checked_at, head_branch, head_commit, error_kind, last_error, failing_since, failure_streak)
SELECT r.id, r.name, 'https://git.example.invalid/' || r.name || '.git', '', '', '', r.is_active,
  now() - interval '400 days' * random(), now() + interval '1 day' * (1 + random()),
  now() - interval '2 minutes' * random(), 'main',
  left(repeat(md5('commit:' || %(seed)s || ':' || r.n || ':' || %(snapshots)s), 2), 40),
  r.error_kind, coalesce(c.text, ''), CASE WHEN c.kind IS NOT NULL THEN now() - interval '2 days' * random() END,
  CASE WHEN c.kind IS NOT NULL THEN 4 ELSE 0 END
FROM scale_repository r LEFT JOIN scale_cause c ON c.kind = r.error_kind
"""

SNAPSHOTS = """
INSERT INTO syncsvc_snapshot (repository_id, commit, tree, files, bytes, submodules, long_paths, created, updated,
  deleted, taken_at)
SELECT r.id, left(repeat(md5('commit:' || %(seed)s || ':' || r.n || ':' || k), 2), 40),
  left(repeat(md5('tree:' || %(seed)s || ':' || r.n || ':' || k), 2), 40), r.files, r.files * 4096::bigint,
  mod(r.n, 9) / 8, 0,
  CASE WHEN k > 1 THEN floor(3 * random()) END, CASE WHEN k > 1 THEN 1 + floor(20 * power(random(), 3)) END,
  CASE WHEN k > 1 THEN floor(2 * random()) END, now() - interval '14 days' * (%(snapshots)s - k + 1) / %(snapshots)s
FROM generate_series(1, %(snapshots)s) k, scale_repository r ORDER BY k, r.n
"""

SNAPSHOTS_BEFORE = """
UPDATE syncsvc_snapshot s SET previous_id = before.id
FROM (SELECT id AS of, lag(id) OVER (PARTITION BY repository_id ORDER BY id) AS id FROM syncsvc_snapshot
      WHERE repository_id IN (SELECT id FROM scale_repository)) before
WHERE s.id = before.of AND before.id IS NOT NULL
"""

SUBSCRIPTIONS = """
INSERT INTO syncsvc_subscription (id, app_id, repository_id, is_active, created_at, status, due_at, queued_at,
  lease_token, lease_expires_at, run_again, awaits_fetch, trigger, asked_by, asked_at, retry_count, error_kind,
  last_error, failing_since, failed_at, failure_notified, last_success_at, epoch, snapshot_id, clean_snapshot_id,
  clean_epoch, allow_deletes, approved_commit, approved_deletes)
SELECT s.id, s.app_id, s.repository_id, mod(s.n, 100) <> 42 OR state = 'syncing',
  now() - interval '300 days' * (0.05 + 0.95 * s.pick),
  CASE state WHEN 'retrying' THEN 'pending' ELSE state END,
  CASE WHEN state = 'pending' THEN now() - interval '2 minutes' * s.pick
       WHEN state = 'retrying' THEN now() + interval '30 minutes' * s.pick
       WHEN state = 'failed' AND s.error_kind <> 'mass_delete_held' THEN now() + interval '1 hour' * s.pick END,
  CASE WHEN state = 'pending' AND mod(s.n, 2) = 0 THEN now() - interval '30 seconds' * s.pick END,
  CASE WHEN state = 'syncing' THEN md5('lease:' || %(seed)s || ':' || s.n)::uuid END,
  CASE WHEN state = 'syncing' THEN now() + interval '1 hour' END,
  state = 'syncing' AND mod(s.n, 9) = 0, false,
  CASE WHEN s.error_kind <> '' THEN 'back_off' WHEN mod(s.n, 30) = 0 THEN 'retry' ELSE 'poll' END,
  CASE WHEN mod(s.n, 30) = 0 THEN 'mira' ELSE '' END, now() - interval '2 days' * s.age,
  CASE state WHEN 'failed' THEN 6 WHEN 'retrying' THEN 1 + mod(s.n, 5) ELSE 0 END, s.error_kind,
  coalesce(c.text, ''),
  CASE WHEN c.kind IS NOT NULL THEN now() - interval '1 hour' - interval '2 days' * power(s.age, 2) END,
  CASE WHEN state = 'failed' THEN now() - interval '2 days' * power(s.age, 2) END, s.error_kind LIKE 'git%%',
  CASE WHEN c.kind IS NULL THEN now() - interval '14 days' * power(s.age, 3)
       ELSE now() - interval '2 days' * (1 + s.age) END, 1, snapshot.id,
  CASE WHEN state = 'synced' THEN snapshot.id END, CASE WHEN state = 'synced' THEN 1 ELSE 0 END, false, '', 0
FROM scale_subscription s
LEFT JOIN scale_cause c ON c.kind = s.error_kind
JOIN syncsvc_snapshot snapshot ON snapshot.repository_id = s.repository_id AND snapshot.commit = left(repeat(md5(
  'commit:' || %(seed)s || ':' || s.repository_n || ':' ||
  greatest(1, %(snapshots)s - CASE WHEN s.error_kind = '' THEN 0 ELSE 2 END)), 2), 40)
"""

RUNS = """
INSERT INTO syncsvc_syncrun (id, subscription_id, trigger, asked_by, epoch, from_commit, to_commit, outcome, created,
  updated, deleted, delivered, failed, requests, bytes, deletes_allowed, error_kind, error, traceback, worker,
  started_at, finished_at)
SELECT r.id, r.subscription_id,
  CASE WHEN mod(r.n, 11) = 0 THEN 'retry' WHEN mod(r.n, 7) = 0 THEN 'back_off' WHEN mod(r.n, 97) = 0 THEN 'resync'
       ELSE 'poll' END,
  CASE WHEN mod(r.n, 11) = 0 THEN (array['mira','jonas','operator'])[1 + mod(r.n, 3)::int] ELSE '' END, 1,
  CASE WHEN snapshot_n > 1 THEN
    left(repeat(md5('commit:' || %(seed)s || ':' || r.repository_n || ':' || snapshot_n - 1), 2), 40) ELSE '' END,
  left(repeat(md5('commit:' || %(seed)s || ':' || r.repository_n || ':' || snapshot_n), 2), 40),
  CASE WHEN r.open THEN '' WHEN r.error_kind = 'mass_delete_held' THEN 'held'
       WHEN r.error_kind = '' AND mod(r.n, 200) = 9 THEN 'interrupted' WHEN r.error_kind = '' THEN 'synced'
       WHEN mod(r.n, 3) = 0 THEN 'postponed' ELSE 'failed' END,
  files / 4, files - files / 4 - files / 20, files / 20, files - failing * r.max_batch, failing * r.max_batch, requests,
  (files - failing * r.max_batch) * 4096::bigint, false, r.error_kind, coalesce(c.text, ''),
  CASE WHEN r.error_kind = 'internal' THEN %(traceback)s ELSE '' END, 'worker-' || 1 + mod(r.n, 4) || '@host',
  r.started_at,
  CASE WHEN NOT r.open THEN r.started_at + interval '1 second' * (0.05 + requests * 0.011) END
FROM (SELECT *, requests * max_batch AS files, CASE WHEN error_kind = '' THEN 0 ELSE (requests + 2) / 3 END AS failing
      FROM scale_run) r
LEFT JOIN scale_cause c ON c.kind = r.error_kind ORDER BY r.n
"""

# In order of time, as workers write them: the index of `at` is good for nothing else.
ATTEMPTS = """
INSERT INTO syncsvc_deliveryattempt (subscription_id, run_id, webhook_id, kind, path, files, status, error_kind, error,
  milliseconds, answer, at)
SELECT a.subscription_id, a.id, md5(a.n || ':' || k)::uuid::text,
  CASE WHEN max_batch > 1 THEN 'batch' WHEN mod(k, 20) = 0 THEN 'deleted' WHEN mod(k, 4) = 0 THEN 'created'
       ELSE 'updated' END,
  CASE WHEN max_batch = 1 THEN convert_to('docs/section-' || lpad((file / 50)::text, 4, '0') || '/page-'
       || lpad(file::text, 6, '0') || '.md', 'UTF8') END,
  max_batch, CASE WHEN well THEN 200 + 4 * mod(k, 2) ELSE a.status END, CASE WHEN well THEN '' ELSE a.error_kind END,
  CASE WHEN well THEN '' ELSE a.text END,
  8 + 40 * random() + 4000 * power(random(), 24) + CASE WHEN a.error_kind = 'endpoint_timeout' AND NOT well
    THEN 15000 ELSE 0 END,
  convert_to(CASE WHEN well THEN 'ok' WHEN a.status IS NULL THEN ''
    ELSE '{"error": "no such thing", "request": "' || md5(a.n || ':' || k) || '"}' END, 'UTF8'),
  a.started_at + interval '11 milliseconds' * k
FROM (SELECT r.*, c.status, c.text FROM scale_run r LEFT JOIN scale_cause c ON c.kind = r.error_kind
      WHERE r.requests > 0 ORDER BY r.n) a,
  LATERAL (SELECT k, 1 + mod(k * 7919, 500) AS file, a.error_kind = '' OR k <= a.requests - (a.requests + 2) / 3 AS well
           FROM generate_series(1, a.requests) k) request
"""

# In the order of its index, which then only grows at its end. Of a failing app each 97th file is in doubt.
LEDGER = """
INSERT INTO syncsvc_deliveredfile (subscription_id, path, mode, blob, epoch, delivered_at, doubt_id, doubt_mode,
  doubt_blob, doubt_epoch)
SELECT s.id, convert_to('docs/section-' || lpad((k / 50)::text, 4, '0') || '/page-' || lpad(k::text, 6, '0') || '.md',
    'UTF8'),
  CASE WHEN mod(k, 200) = 0 THEN '100755' ELSE '100644' END, left(repeat(md5(s.repository_n || ':' || k), 2), 40), 1,
  now() - interval '14 days' * mod(k * 7919, 1000) / 1000.0, CASE WHEN doubt THEN md5(s.n || ':' || k)::uuid END,
  CASE WHEN doubt THEN '100644' END, CASE WHEN doubt THEN left(repeat(md5('new' || k), 2), 40) END,
  CASE WHEN doubt THEN 1 END
FROM (SELECT s.*, r.files FROM scale_subscription s JOIN scale_repository r ON r.n = s.repository_n ORDER BY s.id) s,
  LATERAL (SELECT k, s.error_kind LIKE 'endpoint%%' AND mod(k, 97) = 0 AS doubt FROM generate_series(1, s.files) k) file
"""
