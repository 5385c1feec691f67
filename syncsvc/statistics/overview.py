"""The overview's numbers in one statement: all of one instant, and one query however many tabs are open."""

from typing import Any

from django.conf import settings
from django.db import connection

from syncsvc.delivery.client_certificate import ENDS_SOON_DAYS
from syncsvc.models.hosts import CAUSE_URL_SQL, HOST_VALUES, host_sql
from syncsvc.models.status import (
    ACTIVE_SQL,
    ASKED_AGAIN_SQL,
    AWAITS_FIRST_COMMIT_SQL,
    FAILING_SQL,
    HELD_SQL,
    QUEUED_SQL,
    RETRYING_SQL,
    RUN_FAILS_SQL,
    STOPPED_SQL,
    THROTTLE_LASTS_UNTIL_SQL,
)
from syncsvc.statistics.shown import SHOWN_SQL
from syncsvc.statistics.stale import STALE_SQL

NAMED = 6  # rows of each list that are shown; the pages behind them have all
COLUMNS = (
    *("counts", "causes", "apps", "held", "circuits", "throttled"),
    *("gone", "stale", "unreached", "quiet", "ending", "running", "operations"),
)

# Counts everything, and lists the worst few of each kind. Reads each subscription once. From `runs_at` on a
# subscription is due and its app takes it. An app is throttled for as long as anything waits for the end of that. Locks
# nothing. Called every 2 s while the overview is looked at, for all tabs together.
OVERVIEW = f"""
WITH s AS MATERIALIZED (
  SELECT s.id, s.app_id, s.repository_id, s.status, s.retry_count, s.error_kind, s.due_at, s.queued_at,
         s.failing_since, s.last_success_at, {AWAITS_FIRST_COMMIT_SQL} AS empty, a.name AS app, r.name AS repository,
         {ACTIVE_SQL} AS active, {STOPPED_SQL} AS stopped,
         greatest(s.due_at, CASE WHEN s.trigger <> 'retry' THEN {THROTTLE_LASTS_UNTIL_SQL} END) AS runs_at,
         {CAUSE_URL_SQL} AS url
  FROM syncsvc_subscription s JOIN syncsvc_app a ON a.id = s.app_id JOIN syncsvc_repository r ON r.id = s.repository_id
), wrong AS MATERIALIZED (
  SELECT *, {host_sql("url")} AS host, status = 'failed' AS failed
  FROM s WHERE {FAILING_SQL}
), causes AS (
  SELECT error_kind, host, count(*) FILTER (WHERE failed) AS failed, count(*) FILTER (WHERE NOT failed) AS retrying,
         min(failing_since) AS since, count(DISTINCT app_id) AS apps, min(app) AS app,
         (array_agg(id ORDER BY failing_since DESC NULLS LAST))[1] AS example_id
  FROM wrong GROUP BY error_kind, host ORDER BY failed DESC, retrying DESC, error_kind, host
), of_apps AS (
  SELECT app_id AS id, min(app) AS name, count(*) FILTER (WHERE failed) AS failed,
         count(*) FILTER (WHERE NOT failed) AS retrying, min(failing_since) AS since,
         mode() WITHIN GROUP (ORDER BY error_kind) AS error_kind
  FROM wrong GROUP BY app_id ORDER BY failed DESC, retrying DESC, name
), circuits AS (
  SELECT a.id, a.name, 'app' AS of, a.circuit_opened_at AS since, a.circuit_until AS until, '' AS error_kind,
         (SELECT count(*) FROM syncsvc_subscription x WHERE x.app_id = a.id AND x.status <> 'synced') AS waiting
  FROM syncsvc_app a WHERE a.circuit_opened_at IS NOT NULL AND a.is_active
  UNION ALL
  SELECT r.id, r.name, 'repository', r.failing_since, r.circuit_until, r.error_kind,
         (SELECT count(*) FROM syncsvc_subscription x WHERE x.repository_id = r.id AND x.status <> 'synced')
  FROM syncsvc_repository r WHERE r.circuit_until > statement_timestamp() AND r.is_active
  UNION ALL
  SELECT NULL, h.name, 'host', h.failing_since, h.circuit_until, h.error_kind,
         (SELECT count(*) FROM syncsvc_subscription x JOIN syncsvc_repository r ON r.id = x.repository_id
          WHERE r.host = h.name AND x.status <> 'synced')
  FROM syncsvc_remotehost h
  WHERE h.circuit_until IS NOT NULL AND EXISTS (SELECT FROM syncsvc_repository r WHERE r.host = h.name AND r.is_active)
), throttled AS (
  SELECT t.* FROM (
    SELECT a.id, a.name, a.throttled_since AS since, a.throttled_until AS until,
           (SELECT count(*) FROM s WHERE s.app_id = a.id AND s.active AND s.status IN ('pending', 'syncing')) AS waiting
    FROM syncsvc_app a WHERE a.throttled_until IS NOT NULL AND a.is_active) t
  WHERE t.until > statement_timestamp() OR t.waiting > 0
), stale AS (
  SELECT id, name, checked_at, error_kind, coalesce(checked_at, created_at) AS since
  FROM syncsvc_repository
  WHERE {STALE_SQL}
), unreached AS (
  SELECT r.id, r.name, r.error_kind, r.last_error, r.failing_since AS since,
         r.fetch_failures > 0 AND r.failure_streak = 0 AS answers
  FROM syncsvc_repository r
  WHERE r.is_active AND r.error_kind <> '' AND r.id NOT IN (SELECT id FROM stale)
    AND coalesce(r.circuit_until <= statement_timestamp(), TRUE)
    AND NOT EXISTS (SELECT FROM syncsvc_remotehost h WHERE h.name = r.host AND (
      h.circuit_until IS NOT NULL OR h.quiet_until > statement_timestamp()))
), quiet AS (
  SELECT h.name, h.quiet_until AS until,
         (SELECT count(*) FROM syncsvc_repository r WHERE r.host = h.name AND r.is_active) AS repositories
  FROM syncsvc_remotehost h WHERE h.circuit_until IS NULL AND h.quiet_until > statement_timestamp()
), ending AS (
  SELECT id, name, client_certificate_ends_at AS until FROM syncsvc_app
  WHERE is_active AND client_certificate_ends_at < statement_timestamp() + make_interval(days => %(days)s)
), running AS (
  SELECT s.id, s.app || '/' || s.repository AS name, x.id AS run, x.worker, x.started_at AS since, x.trigger, x.asked_by
  FROM s JOIN syncsvc_syncrun x ON x.subscription_id = s.id AND x.outcome = ''
  WHERE s.status = 'syncing'
), operations AS (
  SELECT id, status, created_at, finished_at FROM syncsvc_operation
  WHERE {SHOWN_SQL}
)
SELECT
  (SELECT json_build_object(
     'total', count(*),
     'synced', count(*) FILTER (WHERE status = 'synced' AND NOT empty),
     'empty', count(*) FILTER (WHERE empty),
     'failed', count(*) FILTER (WHERE status = 'failed'),
     'retrying', count(*) FILTER (WHERE {RETRYING_SQL}),
     'syncing', count(*) FILTER (WHERE status = 'syncing'),
     'paused', count(*) FILTER (WHERE NOT active),
     'retrying_paused', count(*) FILTER (WHERE {RETRYING_SQL} AND NOT active),
     'asked_again', count(*) FILTER (WHERE {ASKED_AGAIN_SQL} AND NOT {RUN_FAILS_SQL}),
     'failing_runs', count(*) FILTER (WHERE {RUN_FAILS_SQL} AND NOT ({RETRYING_SQL})),
     'stopped', count(*) FILTER (WHERE stopped AND active),
     'resting', count(*) FILTER (WHERE status <> 'synced' AND NOT {FAILING_SQL} AND NOT active),
     'held', count(*) FILTER (WHERE {HELD_SQL}),
     'due', count(*) FILTER (WHERE active AND due_at IS NOT NULL AND runs_at <= statement_timestamp()),
     'due_since', min(runs_at) FILTER (WHERE active AND due_at IS NOT NULL AND runs_at <= statement_timestamp()),
     'queued', count(*) FILTER (WHERE status <> 'syncing' AND {QUEUED_SQL}),
     'waiting', count(*) FILTER (WHERE active AND due_at IS NOT NULL AND runs_at > statement_timestamp()),
     'next_at', min(runs_at) FILTER (WHERE active AND due_at IS NOT NULL AND runs_at > statement_timestamp()),
     'success_at', max(last_success_at),
     'apps', (SELECT count(*) FROM syncsvc_app),
     'repositories', (SELECT count(*) FROM syncsvc_repository),
     'causes', (SELECT count(*) FROM causes),
     'failing_apps', (SELECT count(*) FROM of_apps),
     'circuits', (SELECT count(*) FROM circuits),
     'throttled', (SELECT count(*) FROM throttled),
     'stale', (SELECT count(*) FROM stale),
     'unreached', (SELECT count(*) FROM unreached),
     'unfetched', (SELECT count(*) FROM unreached WHERE answers),
     'quiet', (SELECT count(*) FROM quiet),
     'ending', (SELECT count(*) FROM ending),
     'operations', (SELECT count(*) FROM operations WHERE finished_at IS NULL),
     'gone', (SELECT count(*) FROM syncsvc_app WHERE NOT is_active AND pause_reason = %(gone)s)
   ) FROM s),
  (SELECT json_agg(t) FROM (
     SELECT c.*, x.last_error AS example FROM (SELECT * FROM causes LIMIT %(named)s) c
     JOIN syncsvc_subscription x ON x.id = c.example_id ORDER BY failed DESC, retrying DESC, c.error_kind, host) t),
  (SELECT json_agg(t) FROM (SELECT * FROM of_apps LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (
     SELECT id, app || '/' || repository AS name, failing_since AS since FROM s
     WHERE {HELD_SQL} ORDER BY failing_since LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM circuits ORDER BY waiting DESC, name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM throttled ORDER BY waiting DESC, name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (
     SELECT id, name, pause_reason FROM syncsvc_app WHERE NOT is_active AND pause_reason = %(gone)s
     ORDER BY name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM stale ORDER BY since, name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM unreached ORDER BY since, name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM quiet ORDER BY repositories DESC, name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM ending ORDER BY until, name LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT * FROM running ORDER BY since LIMIT %(named)s) t),
  (SELECT json_agg(t) FROM (SELECT id, status FROM operations ORDER BY created_at DESC LIMIT %(named)s) t)
"""


def overview_numbers(*, gone: str) -> dict[str, Any]:
    """By the names of COLUMNS: `counts` is a mapping, the others are lists of rows. Moments are text of ISO 8601.

    `gone` is the reason of a pause that nobody asked for.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            OVERVIEW,
            {
                **HOST_VALUES,
                "poll": settings.POLL_SECONDS,
                "requeue": settings.REQUEUE_AFTER,
                "named": NAMED,
                "gone": gone,
                "days": ENDS_SOON_DAYS,
            },
        )
        row = cursor.fetchone()
    return {name: value or [] for name, value in zip(COLUMNS, row, strict=True)}
