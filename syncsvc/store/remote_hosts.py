"""The circuit that leaves a host of remotes alone: each verb is one statement, so that many workers may call it.

Times in seconds; the clock is the database's.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.models import RemoteHost
from syncsvc.store.statements import execute, fetch_one

# Seconds over which the polls that waited for a host are spread when it answers.
SPREAD_SECONDS = 5

# The failure opens the circuit: the probe of an open one failed, or `threshold` different repositories have failed.
_OPENS = """coalesce(h.circuit_until <= statement_timestamp(),
    cardinality(h.failing_repositories) + (%(repository)s <> ALL (h.failing_repositories))::int >= %(threshold)s)"""

# Counts a repository that could not connect, once; opens the circuit when they are `threshold` different ones, and
# again, for longer, when the probe of an open circuit fails. Makes the host's row where there is none. Locks the host.
# Called for each failure to connect.
_FAILED = f"""
INSERT INTO syncsvc_remotehost AS h (name, failing_repositories, failing_since, error_kind, last_error)
VALUES (%(name)s, ARRAY[%(repository)s::uuid], statement_timestamp(), %(kind)s, %(error)s)
ON CONFLICT (name) DO UPDATE SET
  failing_repositories = CASE
    WHEN %(repository)s = ANY (h.failing_repositories) OR cardinality(h.failing_repositories) >= %(threshold)s
    THEN h.failing_repositories ELSE h.failing_repositories || %(repository)s::uuid END,
  failing_since = CASE WHEN h.failing_repositories = '{{}}' THEN statement_timestamp()
                       ELSE coalesce(h.failing_since, statement_timestamp()) END,
  error_kind = %(kind)s, last_error = %(error)s,
  circuit_until = CASE WHEN {_OPENS} THEN statement_timestamp() + make_interval(secs =>
      least(%(first)s::float8 * power(2, least(h.circuit_openings, 32)), %(most)s::float8)) ELSE h.circuit_until END,
  circuit_openings = h.circuit_openings + ({_OPENS})::int,
  probe_until = CASE WHEN h.circuit_until <= statement_timestamp() THEN NULL ELSE h.probe_until END
RETURNING h.circuit_openings, extract(epoch FROM h.circuit_until - statement_timestamp())::float8
"""

# Ends a streak and closes the circuit; the end that its cool-down would have had. An answer that asks for a pause
# (`limits`) does not end a streak of such answers. Locks the host where there is a streak. Called for each answer.
_ANSWERED = """
UPDATE syncsvc_remotehost h SET
  failing_since = CASE WHEN %(limits)s::bool AND h.failing_repositories = '{}' THEN h.failing_since END,
  failing_repositories = '{}', error_kind = '', last_error = '', circuit_until = NULL, circuit_openings = 0,
  probe_until = NULL
FROM (SELECT name, circuit_until FROM syncsvc_remotehost WHERE name = %(name)s AND failing_since IS NOT NULL FOR UPDATE
) before
WHERE h.name = before.name RETURNING before.circuit_until
"""

# The host asked for a pause; it never gets shorter. Notes since when it answers nothing else, where somebody asked it
# within ten minutes of each pause. Locks the host. Called for a 429 or 503 with Retry-After.
_BE_QUIET = """
INSERT INTO syncsvc_remotehost AS h (name, quiet_until, failing_since)
VALUES (%(name)s, statement_timestamp() + make_interval(secs => %(seconds)s), statement_timestamp())
ON CONFLICT (name) DO UPDATE SET quiet_until = greatest(h.quiet_until, excluded.quiet_until),
  failing_since = CASE
    WHEN h.failing_repositories = '{}' AND h.quiet_until < statement_timestamp() - interval '10 minutes'
    THEN statement_timestamp() ELSE coalesce(h.failing_since, statement_timestamp()) END
"""

# How long the host is left alone yet, and why. Locks nothing. Called before a remote is asked.
_STATE = """
SELECT extract(epoch FROM greatest(circuit_until, quiet_until) - statement_timestamp())::float8, circuit_until IS NULL,
  extract(epoch FROM statement_timestamp() - failing_since)::float8, cardinality(failing_repositories), error_kind,
  last_error
FROM syncsvc_remotehost
WHERE name = %(name)s AND (circuit_until IS NOT NULL OR quiet_until > statement_timestamp())
"""

# Makes the polls due that waited for the host's cool-down to end. Locks repositories in the order of their ids. Called
# when a circuit closes.
_MAKE_DUE = """
UPDATE syncsvc_repository r SET due_at = statement_timestamp() + random() * make_interval(secs => %(spread)s)
FROM (
  SELECT id FROM syncsvc_repository
  WHERE host = %(name)s AND due_at > statement_timestamp()
    AND due_at <= %(until)s::timestamptz + make_interval(secs => %(spread)s)
  ORDER BY id FOR NO KEY UPDATE
) waiting
WHERE r.id = waiting.id
"""


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Seconds that nothing is asked of the host yet (0: one may try), and since when it has failed.

    `asked_for`: the host wants it so; else it could not be reached, by `repositories` different ones at least.
    """

    remaining: float
    asked_for: bool
    failing_for: float
    repositories: int
    error_kind: str
    error: str


@dataclass(frozen=True, slots=True)
class Opening:
    """How often the circuit opened in a row, and for how many seconds it stays so; 0 and 0: it is closed."""

    number: int
    remaining: float


def count_failure(
    name: str, repository_id: uuid.UUID, *, kind: str, error: str, threshold: int, first: float, most: float
) -> Opening:
    """Counts a repository that could not connect. The cool-down has `first` seconds and doubles, up to `most`."""
    values = {
        "name": name,
        "repository": repository_id,
        "kind": kind,
        "error": error[:1000],
        "threshold": threshold,
        "first": first,
        "most": most,
    }
    row = fetch_one(_FAILED, values)
    return Opening(row[0], max(0.0, row[1] or 0.0)) if row else Opening(0, 0.0)


def answered(name: str, *, limits: bool = False) -> datetime | None:
    """The host answers. The end that an open circuit would have had; None where none was open.

    `limits`: it only asks for a pause.
    """
    row = fetch_one(_ANSWERED, {"name": name, "limits": limits})
    return row[0] if row else None


def be_quiet(name: str, seconds: float) -> None:
    """Leaves the host alone for `seconds`."""
    execute(_BE_QUIET, {"name": name, "seconds": seconds})


def left_alone(name: str) -> LeftAlone | None:
    """None where the host may be asked."""
    row = fetch_one(_STATE, {"name": name})
    return LeftAlone(max(0.0, row[0]), row[1], row[2] or 0.0, *row[3:]) if row else None


def take_probe(name: str, *, seconds: float) -> bool:
    """Claims the one probe of a circuit whose cool-down is over, for so many seconds."""
    free = Q(probe_until=None) | Q(probe_until__lte=Now())
    quiet = Q(quiet_until=None) | Q(quiet_until__lte=Now())
    probe = RemoteHost.objects.filter(free, quiet, name=name, circuit_until__lte=Now())
    return probe.update(probe_until=Now() + timedelta(seconds=seconds)) == 1


def give_probe_back(name: str) -> None:
    """It was never decided."""
    RemoteHost.objects.filter(name=name, probe_until__isnull=False).update(probe_until=None)


def make_polls_due(name: str, *, until: datetime) -> None:
    """Polls that waited for a cool-down that would have ended then."""
    execute(_MAKE_DUE, {"name": name, "until": until, "spread": SPREAD_SECONDS})
