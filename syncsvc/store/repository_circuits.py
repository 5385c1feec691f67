"""The circuit that leaves a repository's remote alone, apart from its host's."""

import uuid

from syncsvc.delivery.retry_policy import CircuitPolicy
from syncsvc.store.statements import execute

# The failure opens the circuit: at the threshold, and again after a cool-down.
_OPENS = """(failure_streak + 1 >= %(threshold)s AND coalesce(circuit_until <= statement_timestamp(), TRUE))"""
# Openings before this one in the streak: the first has the plain cool-down, whatever became of the streak before.
_BEFORE = "CASE WHEN failure_streak < %(threshold)s THEN 0 ELSE least(circuit_openings, 32) END"

# Adds a failure of git, and opens the circuit for a time that doubles; an open circuit stays as it is. A wait that the
# remote asked for is kept as well. Locks the repository. Called for each failure of an `ls-remote`.
_FAILED = f"""
UPDATE syncsvc_repository SET
  failure_streak = failure_streak + 1, error_kind = %(kind)s, last_error = %(error)s,
  failing_since = coalesce(failing_since, statement_timestamp()),
  circuit_openings = CASE WHEN {_OPENS} THEN {_BEFORE} + 1 ELSE circuit_openings END,
  circuit_until = greatest(
    CASE WHEN {_OPENS} THEN statement_timestamp() + make_interval(secs =>
      least(%(first)s::float8 * power(2, {_BEFORE}), %(most)s::float8)) ELSE circuit_until END,
    statement_timestamp() + make_interval(secs => %(wait)s::float8))
WHERE id = %(repository)s
"""


def count_failure(
    repository_id: uuid.UUID, *, kind: str, error: str, policy: CircuitPolicy, wait: float | None = None
) -> None:
    """`wait` is the number of seconds for which the remote asks to be left alone."""
    values = {
        "repository": repository_id,
        "kind": kind,
        "error": error[:1000],
        "threshold": policy.threshold,
        "first": policy.cooldown,
        "most": policy.cooldown_max,
        "wait": wait,
    }
    execute(_FAILED, values)
