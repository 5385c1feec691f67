"""Conditions and clauses that several statements share; `a` is an app, `r` a repository, `s` a subscription.

Those that the statistics share as well stand in `models.status` and `models.hosts`.
"""

from syncsvc.models.status import THROTTLE_ENDS_SQL

# The endpoint is not left alone: neither is its circuit open, nor did it ask for fewer requests; or the time is over,
# and no other run goes first.
NOT_THROTTLED = f"(a.throttled_until IS NULL OR {THROTTLE_ENDS_SQL} <= statement_timestamp())"
ENDPOINT_TAKES_RUNS = (
    "(a.circuit_opened_at IS NULL OR greatest(a.circuit_until, a.probe_until) <= statement_timestamp())"
    f" AND {NOT_THROTTLED}"
)
# The remote's host did not ask to be left alone.
HOST_IS_NOT_QUIET = """NOT EXISTS (
      SELECT FROM syncsvc_remotehost h WHERE h.name = r.host AND h.quiet_until > statement_timestamp())"""
# The endpoint or the remote failed last, or the remote was never reached: a run may take long.
# DOUBTFUL in models/subscription.py says the same.
REMOTE_IS_DOUBTFUL = "(r.failure_streak > 0 OR r.checked_at IS NULL)"
IS_DOUBTFUL = f"(a.failure_streak > 0 OR {REMOTE_IS_DOUBTFUL})"

# Finds the operation whose item a run is for. Locks it. Called within the statements that settle that item.
OPERATION_OF_RUN = """
  SELECT id FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem WHERE run_id = %(run)s AND status = 'running')
  FOR UPDATE"""


def in_shards(repository_id: str) -> str:
    """A condition: the repository whose id is in this column belongs to one of the `shards`, or these are null.

    `queues` is the number of all shards. `wakeup.queue_name` computes a shard in the same way.
    """
    return f"""(%(shards)s::int[] IS NULL
       OR ('x' || right({repository_id}::text, 7))::bit(28)::int %% %(queues)s::int = ANY (%(shards)s::int[]))"""


def ends_without(left: str, *, operation: str = "o") -> str:
    """Assignments that end an operation without items that wait or run: as cancelled, or as finished.

    `left` is SQL for the number of these items; `operation` is the alias of the operation's row.
    """
    return f"""
    status = CASE WHEN {left} > 0 THEN {operation}.status
                  WHEN {operation}.status = 'cancelling' THEN 'cancelled' ELSE 'finished' END,
    finished_at = CASE WHEN {left} > 0 THEN NULL ELSE statement_timestamp() END"""
