"""Conditions that several statements share, each in one place; `a` is an app, `r` a repository, `s` a subscription."""

# The endpoint is not left alone: neither is its circuit open, nor did it ask for fewer requests; or the time is over,
# and no other run goes first.
NOT_THROTTLED = "(a.throttled_until IS NULL OR greatest(a.throttled_until, a.probe_until) <= statement_timestamp())"
ENDPOINT_TAKES_RUNS = (
    "(a.circuit_opened_at IS NULL OR greatest(a.circuit_until, a.probe_until) <= statement_timestamp())"
    f" AND {NOT_THROTTLED}"
)
# The remote's host did not ask to be left alone.
HOST_IS_NOT_QUIET = """NOT EXISTS (
      SELECT FROM syncsvc_remotehost h WHERE h.name = r.host AND h.quiet_until > statement_timestamp())"""
# The endpoint or the remote failed last, or the remote was never reached: a run may take long.
# DOUBTFUL in models/subscription.py says the same.
IS_DOUBTFUL = "(a.failure_streak > 0 OR r.failure_streak > 0 OR r.checked_at IS NULL)"
