"""What each row shall be, in temporary tables that end with the transaction: the tables proper are written from them.

`random()` follows setseed; ids and hashes are made of the seed and the row's number: the same seed gives the same rows.
"""

APPS = """
CREATE TEMP TABLE scale_app ON COMMIT DROP AS
SELECT n, md5('app:' || %(seed)s || ':' || n)::uuid AS id,
  (array['billing','search','docs','mirror','lint','deploy','wiki','audit','notify','index'])[1 + mod(n, 10)]
    || '-' || %(seed)s || '-' || lpad(n::text, 5, '0') AS name,
  'hooks-' || mod(n, 40) || '.example.invalid' AS host,
  mod(n, 20) <> 7 AS is_active, mod(n, 50) = 3 AS circuit_open, mod(n, 25) = 4 AS in_trouble,
  CASE WHEN mod(n, 10) = 0 THEN 50 ELSE 1 END AS max_batch
FROM generate_series(1, %(apps)s) n
"""

REPOSITORIES = """
CREATE TEMP TABLE scale_repository ON COMMIT DROP AS
SELECT n, md5('repository:' || %(seed)s || ':' || n)::uuid AS id,
  (array['acme','globex','initech','umbrella','hooli','stark','wayne','tyrell'])[1 + mod(n, 8)]
    || '/' || (array['handbook','site','api','specs','recipes','rules'])[1 + mod(n, 6)]
    || '-' || %(seed)s || '-' || lpad(n::text, 5, '0') AS name,
  mod(n, 40) <> 11 AS is_active,
  CASE WHEN mod(n, 40) = 5 THEN (%(git_kinds)s::text[])[1 + mod(n / 40, cardinality(%(git_kinds)s::text[]))]
       ELSE '' END AS error_kind,
  0.05 + power(random(), 6) AS weight, 0 AS files
FROM generate_series(1, %(repositories)s) n
"""

# An app follows neighbours of one repository, most often of an early one: some repositories have many apps.
SUBSCRIPTIONS = """
CREATE TEMP TABLE scale_subscription ON COMMIT DROP AS
WITH pair AS (
  SELECT row_number() OVER (ORDER BY a.n, j) AS n, a.n AS app_n, j,
    1 + mod(floor(%(repositories)s * power(mod(a.n * 0.618034, 1.0), 2))::int + j, %(repositories)s) AS repository_n
  FROM unnest(%(of_each_app)s::int[]) WITH ORDINALITY AS a (many, n), generate_series(1, a.many) j
), rolled AS (
  SELECT p.*, a.id AS app_id, a.host, a.is_active AND r.is_active AS active, a.max_batch,
    r.id AS repository_id, r.error_kind AS git_kind, random() AS roll, random() AS pick, random() AS age,
    CASE WHEN r.error_kind <> '' THEN 0.9 WHEN a.in_trouble THEN 0.4 ELSE 0.02 END AS failing,
    -- What is in trouble is so for one reason.
    CASE WHEN a.in_trouble THEN mod(a.n::int / 25, 4) / 4.0 END AS reason
  FROM pair p JOIN scale_app a ON a.n = p.app_n JOIN scale_repository r ON r.n = p.repository_n
), decided AS (
  SELECT *, CASE WHEN roll < failing THEN 'failed' WHEN roll < failing + 0.025 THEN 'retrying'
                 WHEN roll < failing + 0.045 THEN 'pending'
                 WHEN roll < failing + 0.050 AND active THEN 'syncing' ELSE 'synced' END AS state
  FROM rolled
), kinds AS (SELECT %(endpoint_kinds)s::text[] AS failed, %(retried_kinds)s::text[] AS retried)
SELECT d.*, md5('subscription:' || %(seed)s || ':' || d.n)::uuid AS id,
  CASE WHEN state NOT IN ('failed', 'retrying') THEN '' WHEN git_kind <> '' THEN git_kind
       WHEN state = 'failed' THEN failed[1 + floor(coalesce(reason, pick) * cardinality(failed))::int]
       ELSE retried[1 + floor(pick * cardinality(retried))::int] END AS error_kind
FROM decided d, kinds
"""

# Every app of a repository has the same files; together they are the ledger.
FILES = """
UPDATE scale_repository r SET files = greatest(1, round(weight * %(ledger)s / (
  SELECT sum(weight) FROM scale_subscription s JOIN scale_repository of ON of.n = s.repository_n)))
"""

INDEXES = """
CREATE UNIQUE INDEX ON scale_subscription (n);
ANALYZE scale_app; ANALYZE scale_repository; ANALYZE scale_subscription
"""

CAUSES = """
CREATE TEMP TABLE scale_cause ON COMMIT DROP AS
SELECT * FROM unnest(%(kinds)s::text[], %(statuses)s::int[], %(texts)s::text[]) AS cause (kind, status, text)
"""

# Of each that runs now its open run; of each that is failing the run that said so; the rest at any time in two weeks.
# Apps with many subscriptions have most runs, and few runs most requests.
RUNS = """
CREATE TEMP TABLE scale_run ON COMMIT DROP AS
WITH known AS (
  SELECT n AS subscription_n, state = 'syncing' AS open, error_kind,
    now() - interval '1 second' - (CASE WHEN state = 'syncing' THEN interval '50 seconds' ELSE interval '2 days' END)
      * power(age, 2) AS started_at
  FROM scale_subscription WHERE state IN ('syncing', 'failed', 'retrying')
), past AS (
  SELECT 1 + floor(%(subscriptions)s * power(random(), 2))::int AS subscription_n, false AS open,
    CASE WHEN random() < 0.06 THEN (%(endpoint_kinds)s::text[])[1 + floor(random() * %(endpoint_kinds_count)s)::int]
         ELSE '' END AS error_kind,
    now() - interval '1 hour' - interval '13.9 days' * random() AS started_at
  FROM generate_series(1, %(runs)s - (SELECT count(*) FROM known))
), run AS (
  SELECT row_number() OVER (ORDER BY started_at) AS n, r.*,
    -- Nothing was sent.
    CASE WHEN open OR error_kind = ANY(%(unsent_kinds)s::text[]) THEN 0 ELSE 0.02 + power(random(), 12) END AS weight
  FROM (SELECT * FROM known UNION ALL SELECT * FROM past) r
), weighed AS (
  SELECT *, sum(weight) OVER (ORDER BY n) AS until, sum(weight) OVER () AS whole FROM run
)
SELECT w.n, md5('run:' || %(seed)s || ':' || w.n)::uuid AS id, s.id AS subscription_id, s.repository_n, s.max_batch,
  w.open, w.error_kind, w.started_at,
  (floor(until * %(attempts)s / whole) - floor(lag(until, 1, 0) OVER (ORDER BY w.n) * %(attempts)s / whole))::int
    AS requests,
  greatest(1, ceil(%(snapshots)s * (1 - extract(epoch FROM now() - w.started_at) / 1209600)))::int AS snapshot_n
FROM weighed w JOIN scale_subscription s ON s.n = w.subscription_n
ORDER BY w.n
"""
