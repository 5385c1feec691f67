"""The statements that move an operation's items and its counts together; `store.operations` runs them.

A statement that locks several rows locks the operation, then items, then subscriptions, each by id or only those that
are free: no two can wait for each other. A statement that moves many items runs after another that has locked the
operation, because a statement that waited for that lock does not see the items that were put back meanwhile.
"""

from syncsvc.models import Operation
from syncsvc.models.status import ACTIVE_SQL, QUEUED_SQL
from syncsvc.store.conditions import ENDPOINT_TAKES_RUNS, HOST_IS_NOT_QUIET, OPERATION_OF_RUN, ends_without
from syncsvc.store.statements import columns_of

# A subscription that may be queued for an operation. Checked again once its row is locked.
_IDLE = f"s.status <> 'syncing' AND {QUEUED_SQL} IS NOT TRUE"

# Marks waiting items as released and their subscriptions as queued, in the order of the index item_to_release, which is
# read no further than there is room. `room` is what the window has left; in the first of two passes an app that holds
# its share of the window (`within_share`: a quarter) is passed over. Passed over in both: a subscription that is
# syncing, queued, paused or in flight for another operation, an app whose circuit is open or that is throttled, and a
# repository whose host asked to be left alone.
# Locks items, then subscriptions, skipping what is locked. Called by `release_items`; the caller holds the operation.
RELEASE = f"""
WITH busy AS (
  SELECT app_id, count(*) AS n FROM syncsvc_operationitem
  WHERE operation_id = %(operation)s AND released_at IS NOT NULL GROUP BY app_id
), o AS (
  SELECT op.id, op.kind, greatest(op.max_running - coalesce((SELECT sum(n) FROM busy), 0), 0) AS room,
    CASE WHEN %(within_share)s THEN greatest(op.max_running / 4, 1) ELSE op.max_running END AS share
  FROM syncsvc_operation op WHERE op.id = %(operation)s AND op.status = 'running'
), fit AS (
  SELECT i.id, i.app_id, i.turn, i.subscription_id, s.repository_id
  FROM syncsvc_operationitem i
  JOIN syncsvc_subscription s ON s.id = i.subscription_id
  JOIN syncsvc_app a ON a.id = s.app_id
  JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE i.operation_id = %(operation)s AND i.status = 'waiting' AND i.released_at IS NULL
    AND {_IDLE} AND (s.status <> 'synced' OR (SELECT kind FROM o) = 'resync')
    AND {ACTIVE_SQL}
    AND {ENDPOINT_TAKES_RUNS}
    AND {HOST_IS_NOT_QUIET}
    AND i.app_id NOT IN (SELECT app_id FROM busy, o WHERE busy.n >= o.share)
    AND NOT EXISTS (SELECT FROM syncsvc_operationitem other
                    WHERE other.subscription_id = s.id AND other.released_at IS NOT NULL)
  ORDER BY i.turn, i.id
  LIMIT coalesce((SELECT room FROM o), 0)
), nth AS (
  SELECT fit.*, row_number() OVER (PARTITION BY fit.app_id ORDER BY fit.turn, fit.id) + coalesce(busy.n, 0) AS n
  FROM fit LEFT JOIN busy ON busy.app_id = fit.app_id
), chosen AS (
  SELECT i.id, s.id AS subscription_id, s.repository_id
  FROM nth JOIN syncsvc_operationitem i ON i.id = nth.id JOIN syncsvc_subscription s ON s.id = nth.subscription_id
  WHERE nth.n <= (SELECT share FROM o) AND {_IDLE}
  FOR UPDATE OF i SKIP LOCKED FOR NO KEY UPDATE OF s SKIP LOCKED
), released AS (
  UPDATE syncsvc_operationitem i SET released_at = statement_timestamp() FROM chosen c WHERE i.id = c.id
), queued AS (
  UPDATE syncsvc_subscription s SET queued_at = statement_timestamp() FROM chosen c WHERE s.id = c.subscription_id
)
SELECT o.room::int, c.subscription_id, c.repository_id FROM o LEFT JOIN chosen c ON TRUE
"""

# Takes back what RELEASE wrote to subscriptions. They are locked in the order of their ids, as everywhere.
_TAKE_MARKS_OFF = """
  unmarked AS (
    SELECT s.id FROM marked JOIN syncsvc_subscription s ON s.id = marked.subscription_id
    WHERE marked.released_at IS NOT NULL AND s.status <> 'syncing' ORDER BY s.id FOR NO KEY UPDATE OF s
  ), unqueued AS (
    UPDATE syncsvc_subscription s SET queued_at = NULL FROM unmarked WHERE s.id = unmarked.id
  )
"""

# Takes the mark off items that no worker claims for longer than `wait` seconds: their app is throttled, or their
# repository's host asked to be left alone. They would fill the window while others could run; RELEASE marks them
# again. Locks items (skipping locked ones), then subscriptions. Called by `take_back_left_alone`; the caller holds the
# operation.
TAKE_BACK = (
    """
WITH marked AS (
  SELECT i.id, i.subscription_id, i.released_at
  FROM syncsvc_operationitem i
  JOIN syncsvc_subscription s ON s.id = i.subscription_id
  JOIN syncsvc_app a ON a.id = s.app_id
  JOIN syncsvc_repository r ON r.id = s.repository_id
  LEFT JOIN syncsvc_remotehost h ON h.name = r.host
  WHERE i.operation_id = %(operation)s AND i.released_at IS NOT NULL AND i.status = 'waiting'
    AND greatest(a.throttled_until, h.quiet_until) > statement_timestamp() + make_interval(secs => %(wait)s)
  FOR UPDATE OF i SKIP LOCKED
), held AS (
  UPDATE syncsvc_operationitem i SET released_at = NULL FROM marked WHERE i.id = marked.id
),"""
    + _TAKE_MARKS_OFF
    + "SELECT count(*) FROM marked"
)

# Settles as skipped, with the reason, each item whose subscription needs no run or can have none any more.
# Locks items (skipping locked ones), then subscriptions. Called by `skip_unfit`; the caller holds the operation.
SKIP_UNFIT = (
    f"""
WITH op AS (
  SELECT id, kind, status FROM syncsvc_operation WHERE id = %(operation)s
), marked AS (
  SELECT i.id, i.status, i.subscription_id, i.released_at, CASE
      WHEN s.id IS NULL AND i.status = 'running' THEN 'The subscription was deleted while it ran.'
      WHEN s.id IS NULL THEN 'The subscription was deleted.'
      WHEN NOT a.is_active THEN 'The app is paused.'
      WHEN NOT r.is_active THEN 'The repository is paused.'
      WHEN NOT s.is_active THEN 'The subscription is paused.'
      ELSE 'All is well: it was synced meanwhile.' END AS reason
  FROM op
  JOIN syncsvc_operationitem i ON i.operation_id = op.id
  LEFT JOIN syncsvc_subscription s ON s.id = i.subscription_id
  LEFT JOIN syncsvc_app a ON a.id = s.app_id
  LEFT JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE (i.status = 'running' AND i.subscription_id IS NULL)
     OR (i.status = 'waiting' AND op.status = 'running'
         AND (s.id IS NULL OR NOT {ACTIVE_SQL}
              OR (op.kind = 'retry' AND s.status = 'synced')))
  FOR UPDATE OF i SKIP LOCKED
), skipped AS (
  UPDATE syncsvc_operationitem i SET status = 'skipped', reason = marked.reason, released_at = NULL,
    settled_at = statement_timestamp()
  FROM marked WHERE i.id = marked.id
),"""
    + _TAKE_MARKS_OFF
    + f""", n AS (
  SELECT (count(*) FILTER (WHERE status = 'waiting'))::int AS waited,
    (count(*) FILTER (WHERE status = 'running'))::int AS ran FROM marked
)
UPDATE syncsvc_operation o SET waiting = o.waiting - waited, running = o.running - ran,
  skipped = o.skipped + waited + ran, version = o.version + 1,
  {ends_without("o.waiting + o.running - waited - ran")}
FROM n WHERE o.id = %(operation)s AND waited + ran > 0 RETURNING waited + ran
"""
)


def _settled_as(outcome: str) -> str:
    """Settles the running item of one run, and counts it. Locks the operation, then the item."""
    return f"""
WITH op AS ({OPERATION_OF_RUN}
), settled AS (
  UPDATE syncsvc_operationitem i SET status = '{outcome}', reason = %(reason)s, error_kind = %(kind)s,
    files = i.files + %(files)s, settled_at = statement_timestamp(), released_at = NULL
  FROM op WHERE i.operation_id = op.id AND i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id
)
UPDATE syncsvc_operation o SET running = o.running - 1, {outcome} = o.{outcome} + 1, files = o.files + %(files)s,
  version = o.version + 1,
  {ends_without("o.waiting + o.running - 1")}
FROM settled WHERE o.id = settled.operation_id RETURNING {columns_of(Operation, "o")}
"""


# Called at the end of a run that did not complete, and of a run that an operator stopped.
SETTLE_ITEM_AS_FAILED = _settled_as("failed")
CANCEL_ITEM = _settled_as("cancelled")

# Locks, in the order of their ids, the running operations that have items waiting for an app, and the operation of one
# run's item. Called before FAIL_WAITING_OF_APP, in its transaction.
LOCK_WAITING_FOR_APP = """
SELECT o.id FROM syncsvc_operation o
WHERE (o.status = 'running' AND EXISTS (
    SELECT FROM syncsvc_operationitem i WHERE i.operation_id = o.id AND i.status = 'waiting' AND i.app_id = %(app)s))
  OR o.id = (SELECT operation_id FROM syncsvc_operationitem WHERE run_id = %(run)s AND status = 'running')
ORDER BY o.id FOR UPDATE
"""

# Locks all running operations in the order of their ids. Called before FAIL_WAITING_OF_HOST, in its transaction.
LOCK_RUNNING = "SELECT o.id FROM syncsvc_operation o WHERE o.status = 'running' ORDER BY o.id FOR UPDATE"


def _fail_waiting(of: str, until: str) -> str:
    """Settles items that wait as failed, also those that no worker has claimed yet.

    `of` is the condition of an item, `until` the time before which nothing of it is tried. Each reason says when its
    own subscription is tried next. Locks items, skipping what is locked, then subscriptions; the caller holds the
    operations.
    """
    return (
        f"""
WITH marked AS (
  SELECT i.id, i.subscription_id, i.released_at,
    CASE WHEN s.due_at IS NOT NULL THEN greatest(s.due_at, {until}) END AS tries_at
  FROM syncsvc_operation op
  JOIN syncsvc_operationitem i ON i.operation_id = op.id
  LEFT JOIN syncsvc_subscription s ON s.id = i.subscription_id
  LEFT JOIN syncsvc_app a ON a.id = i.app_id
  LEFT JOIN syncsvc_repository r ON r.id = s.repository_id
  LEFT JOIN syncsvc_remotehost h ON h.name = r.host
  WHERE op.id = ANY (%(operations)s::uuid[]) AND op.status = 'running' AND i.status = 'waiting' AND {of}
  FOR UPDATE OF i SKIP LOCKED
), failed AS (
  UPDATE syncsvc_operationitem i SET status = 'failed', error_kind = %(kind)s,
    reason = %(reason)s || coalesce(
      to_char(tries_at AT TIME ZONE 'UTC', '" It tries by itself at "YYYY-MM-DD HH24:MI:SS" UTC."'), ''),
    settled_at = statement_timestamp(), released_at = NULL
  FROM marked WHERE i.id = marked.id RETURNING i.operation_id
),"""
        + _TAKE_MARKS_OFF
        + f""", n AS (SELECT operation_id, count(*)::int AS n FROM failed GROUP BY operation_id)
UPDATE syncsvc_operation o SET waiting = o.waiting - n, failed = o.failed + n, version = o.version + 1,
  {ends_without("o.waiting + o.running - n")}
FROM n WHERE o.id = n.operation_id RETURNING {columns_of(Operation, "o")}
"""
    )


# Called after the probe of an app's circuit failed, or where the app was throttled for too long.
FAIL_WAITING_OF_APP = _fail_waiting(
    "i.app_id = %(app)s",
    "greatest(a.throttled_until, CASE WHEN a.circuit_opened_at IS NOT NULL THEN a.circuit_until END)",
)
# Called where a host of remotes has asked to be left alone for too long.
FAIL_WAITING_OF_HOST = _fail_waiting("r.host = %(host)s", "h.quiet_until")

# Puts the running item of a run that did not end by itself back to waiting; in a cancelling operation it is cancelled.
# An operator's single retry may ask an endpoint that is left alone; the subscription of an item that is cancelled later
# is none. Locks the operation, then the item, then the subscription. Called at the end of a run that was handed back,
# and by the sweep.
PUT_BACK_ITEM = f"""
WITH o AS (
  SELECT op.id, op.status = 'cancelling' AS cancelling, op.status = 'running' AS goes_on
  FROM syncsvc_operation op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  WHERE i.run_id = %(run)s AND i.status = 'running' FOR UPDATE OF op
), back AS (
  UPDATE syncsvc_operationitem i SET run_id = NULL, files = i.files + %(files)s,
    status = CASE WHEN cancelling THEN 'cancelled' ELSE 'waiting' END,
    settled_at = CASE WHEN cancelling THEN statement_timestamp() END,
    released_at = CASE WHEN %(released)s AND goes_on THEN statement_timestamp() END
  FROM o WHERE i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id, i.subscription_id
), asked AS (
  UPDATE syncsvc_subscription s SET trigger = 'back_off'
  FROM back WHERE s.id = back.subscription_id AND s.trigger = 'retry'
)
UPDATE syncsvc_operation op SET running = op.running - 1, version = op.version + 1, files = op.files + %(files)s,
  waiting = op.waiting + (NOT cancelling)::int, cancelled = op.cancelled + cancelling::int,
  {ends_without("op.waiting + (NOT cancelling)::int + op.running - 1", operation="op")}
FROM o, back WHERE op.id = o.id RETURNING {columns_of(Operation, "op")}
"""

# Cancels every waiting item. Locks items, then subscriptions. Called by `cancel_operation`, which locks the operation.
CANCEL = (
    """
WITH o AS (
  SELECT id FROM syncsvc_operation
  WHERE id = %(operation)s AND status IN ('running', 'paused')
), marked AS (
  SELECT i.id, i.subscription_id, i.released_at FROM syncsvc_operationitem i JOIN o ON o.id = i.operation_id
  WHERE i.status = 'waiting' FOR UPDATE OF i
), cancelled AS (
  UPDATE syncsvc_operationitem i SET status = 'cancelled', released_at = NULL, settled_at = statement_timestamp()
  FROM marked WHERE i.id = marked.id RETURNING i.id
),"""
    + _TAKE_MARKS_OFF
    + """, n AS (SELECT count(*)::int AS n FROM cancelled)
UPDATE syncsvc_operation op SET waiting = op.waiting - n, cancelled = op.cancelled + n, version = op.version + 1,
  status = CASE WHEN op.running > 0 THEN 'cancelling' ELSE 'cancelled' END,
  finished_at = CASE WHEN op.running > 0 THEN NULL ELSE statement_timestamp() END
FROM o, n WHERE op.id = o.id RETURNING 1
"""
)

# Takes the mark off every item that no worker has claimed, and pauses. Locks as CANCEL. Called by `pause_operation`.
PAUSE = (
    """
WITH o AS (
  SELECT id FROM syncsvc_operation WHERE id = %(operation)s AND status = 'running'
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
