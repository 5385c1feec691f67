"""The numbers on the pages of an app and of a repository: one statement for each page."""

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import TextField
from django.db.models.expressions import RawSQL

from syncsvc.models import App, Repository
from syncsvc.models.status import (
    ACTIVE_SQL,
    ASKED_AGAIN_SQL,
    AWAITS_FIRST_COMMIT_SQL,
    FAILING_SQL,
    RETRYING_SQL,
    RUN_FAILS_SQL,
    STOPPED_SQL,
    THROTTLE_LASTS_UNTIL_SQL,
    THROTTLED_SQL,
)

# Counts an app's, or a repository's, subscriptions by state: a few thousand at most, by the index of the foreign key.
# Locks nothing. Called every 2 s while such a page is looked at, for all tabs together.
COUNTS = f"""
SELECT json_build_object(
  'total', count(*),
  'failed', count(*) FILTER (WHERE s.status = 'failed'),
  'retrying', count(*) FILTER (WHERE {RETRYING_SQL}),
  'throttled', count(*) FILTER (WHERE {THROTTLED_SQL}),
  'pending', count(*) FILTER (WHERE s.status = 'pending' AND NOT ({RETRYING_SQL}) AND NOT ({THROTTLED_SQL})),
  'syncing', count(*) FILTER (WHERE s.status = 'syncing'),
  'synced', count(*) FILTER (WHERE s.status = 'synced' AND NOT ({AWAITS_FIRST_COMMIT_SQL})),
  'empty', count(*) FILTER (WHERE {AWAITS_FIRST_COMMIT_SQL}),
  'paused', count(*) FILTER (WHERE NOT s.is_active),
  'retrying_paused', count(*) FILTER (WHERE {RETRYING_SQL} AND NOT {ACTIVE_SQL}),
  'asked_again', count(*) FILTER (WHERE {ASKED_AGAIN_SQL} AND NOT ({RUN_FAILS_SQL})),
  'failing_runs', count(*) FILTER (WHERE {RUN_FAILS_SQL} AND NOT ({RETRYING_SQL})),
  'stopped', count(*) FILTER (WHERE {STOPPED_SQL} AND {ACTIVE_SQL}),
  'resting', count(*) FILTER (WHERE s.status <> 'synced' AND NOT {FAILING_SQL} AND NOT {ACTIVE_SQL}),
  'moving', count(*) FILTER (WHERE s.status = 'syncing'
              OR s.status = 'pending' AND greatest(s.due_at, {THROTTLE_LASTS_UNTIL_SQL}) <= statement_timestamp()
                 AND {ACTIVE_SQL}
              -- just ended: what is kept of a moment ago does not have it, and is asked for once more
              OR greatest(s.last_success_at, s.failed_at) > statement_timestamp() - interval '5 seconds'),
  'old_url_files', coalesce(sum(s.old_url_files), 0),
  'old_url_subscriptions', count(*) FILTER (WHERE s.old_url_files > 0),
  'retries', coalesce(sum(s.retry_count), 0),
  'failing_since', min(s.failing_since),
  'success_at', max(s.last_success_at))
FROM syncsvc_subscription s JOIN syncsvc_app a ON a.id = s.app_id JOIN syncsvc_repository r ON r.id = s.repository_id
WHERE """

# Sums an app's runs of the last day, by the index run_timeline: they are a hundredth of its attempts. Locks nothing.
# Called as COUNTS, for an app.
DAY = """
SELECT json_build_object('delivered', coalesce(sum(x.delivered), 0), 'failed', coalesce(sum(x.failed), 0),
  'bytes', coalesce(sum(x.bytes), 0), 'runs', count(x.id))
FROM syncsvc_subscription s JOIN syncsvc_syncrun x ON x.subscription_id = s.id
WHERE s.app_id = %s AND x.started_at > statement_timestamp() - interval '1 day'
"""

# Percentiles of an app's requests of the last day. Reads each attempt of the day, so that the caller keeps the answer
# for a minute. Locks nothing. Called as COUNTS, for an app.
LATENCY = """
SELECT json_build_object('requests', count(*), 'refused', count(*) FILTER (WHERE t.error_kind <> ''),
  'half', percentile_disc(0.5) WITHIN GROUP (ORDER BY t.milliseconds),
  'p95', percentile_disc(0.95) WITHIN GROUP (ORDER BY t.milliseconds),
  'p99', percentile_disc(0.99) WITHIN GROUP (ORDER BY t.milliseconds), 'most', max(t.milliseconds))
FROM syncsvc_subscription s JOIN syncsvc_deliveryattempt t ON t.subscription_id = s.id
WHERE s.app_id = %s AND t.at > statement_timestamp() - interval '1 day'
"""

# How far subscriptions are from their remotes' heads. head: the snapshot of the commit at which the remote was last
# seen, where it has been taken in. between_: those taken in after the one that the app has. last_: the newest run that
# has ended. Locks nothing. Called for each list of subscriptions on the page of an app or a repository.
STANDINGS = """
SELECT s.id, head.id IS NOT NULL, had.commit = r.head_commit, coalesce(between_.steps, 0), between_.changes, head.files,
       s.epoch <> s.clean_epoch, last.planned - last.delivered
FROM syncsvc_subscription s
JOIN syncsvc_repository r ON r.id = s.repository_id
LEFT JOIN syncsvc_snapshot had ON had.id = s.snapshot_id
LEFT JOIN syncsvc_snapshot head ON head.repository_id = r.id AND head.commit = r.head_commit
LEFT JOIN LATERAL (
  SELECT count(*) AS steps, sum(n.created + n.updated + n.deleted) AS changes FROM syncsvc_snapshot n
  WHERE n.repository_id = r.id AND n.id > had.id AND n.id <= head.id
) between_ ON TRUE
LEFT JOIN LATERAL (
  SELECT x.created + x.updated + x.deleted AS planned, x.delivered, x.to_commit, x.epoch, x.outcome
  FROM syncsvc_syncrun x WHERE x.subscription_id = s.id AND x.outcome <> '' ORDER BY x.started_at DESC LIMIT 1
) last_ ON TRUE
LEFT JOIN LATERAL (
  SELECT last_.* WHERE last_.to_commit = r.head_commit AND last_.epoch = s.epoch AND last_.planned > 0
                       AND last_.outcome NOT IN ('synced', 'interrupted')
) last ON TRUE
WHERE s.id = ANY(%s)
"""


# A repository's host where nothing is asked of it now, and why. Locks nothing. Called as COUNTS, for a repository.
HOST = """
SELECT json_build_object('name', h.name, 'until', greatest(h.circuit_until, h.quiet_until), 'error', h.last_error,
                         'asked', h.circuit_until IS NULL)
FROM syncsvc_repository r JOIN syncsvc_remotehost h ON h.name = r.host
WHERE r.id = %s AND greatest(h.circuit_until, h.quiet_until) > statement_timestamp()
"""
OF_REPOSITORY = (f"'counts', ({COUNTS} s.repository_id = %s)", f"'host', ({HOST})")

# COUNTS and HOST of a repository together. Locks nothing. Called as COUNTS.
REPOSITORY = f"SELECT json_build_object({', '.join(OF_REPOSITORY)})::text"


class Standing(NamedTuple):
    """How far a subscription is from the remote's head.

    `behind`: snapshots taken in since the one it has. `changes`: files that those changed, a file perhaps more than
    once; None: not known. `left`: files that the last run, at this very head, planned and could not deliver.
    """

    head_known: bool
    at_head: bool | None
    behind: int
    changes: int | None
    files: int | None
    sends_all: bool
    left: int | None


def app_counts(app_id: uuid.UUID) -> dict[str, Any]:
    return _json(f"{COUNTS} s.app_id = %s", app_id)


def repository_numbers(repository_id: uuid.UUID) -> str:
    """JSON: `counts` of its subscriptions, and `host`, where that is left alone."""
    with connection.cursor() as cursor:
        cursor.execute(REPOSITORY, [repository_id] * len(OF_REPOSITORY))
        found: str = cursor.fetchone()[0]
    return found


def app_day(app_id: uuid.UUID) -> dict[str, Any]:
    """Files delivered and failed, bytes, and runs that began in the last 24 hours."""
    return _json(DAY, app_id)


def app_with_numbers(app_id: uuid.UUID, *, latency: bool) -> App | None:
    """An app, and in its attribute `numbers` what the three functions say of it as JSON: one statement for a poll."""
    parts = [
        f"'counts', ({COUNTS} s.app_id = %s)",
        f"'day', ({DAY})",
        *([f"'latency', ({LATENCY})"] if latency else []),
    ]
    return App.objects.annotate(numbers=_text(parts, app_id)).filter(pk=app_id).first()


def repository_with_counts(repository_id: uuid.UUID) -> Repository | None:
    """A repository, and in its attribute `numbers` what `repository_numbers` says of it."""
    numbers = _text(OF_REPOSITORY, repository_id)
    return Repository.objects.annotate(numbers=numbers).filter(pk=repository_id).first()


def _text(parts: Sequence[str], id: uuid.UUID) -> RawSQL:
    return RawSQL(_object(parts), [id] * len(parts), output_field=TextField())  # noqa: S611 - constants


def _object(parts: Sequence[str]) -> str:
    return f"json_build_object({', '.join(parts)})::text"


def app_latency(app_id: uuid.UUID) -> dict[str, Any]:
    """Requests of the last 24 hours, how many did not succeed, and percentiles of their milliseconds."""
    return _json(LATENCY, app_id)


def standings(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Standing]:
    """Of these subscriptions, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(STANDINGS, [list(ids)])
        return {row[0]: Standing(*row[1:]) for row in cursor.fetchall()}


def _json(sql: str, id: uuid.UUID) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [id])
        found: dict[str, Any] = cursor.fetchone()[0]
    return found
