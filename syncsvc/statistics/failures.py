"""What fails, by cause, by app and by repository, and who repairs it: of one instant, in one statement."""

from typing import Any

from django.db import connection

from syncsvc.models.hosts import CAUSE_URL_SQL, HOST_VALUES, host_sql
from syncsvc.models.status import ACTIVE_SQL, FAILING_SQL, RUN_FAILS_SQL
from syncsvc.statistics.shown import SHOWN_SQL

CAUSES_SHOWN = 60
CHOICES = 200  # apps, and repositories, that a filter offers
COLUMNS = ("counts", "causes", "apps", "repositories", "operations")

# What fails, grouped by cause, and the retries that are at it. Reads the failing subscriptions once, by the index
# subscription_status. Locks nothing. Called every 2 s while the page of failures is looked at, for all tabs together.
FAILING = f"""
WITH wrong AS MATERIALIZED (
  SELECT s.id, s.app_id, s.repository_id, s.error_kind, s.failing_since, a.name AS app, r.name AS repository,
         s.status = 'failed' AS failed,
         s.status = 'syncing' OR s.due_at <= statement_timestamp() AND {ACTIVE_SQL} AS moving,
         NOT {ACTIVE_SQL} AS paused,
         {host_sql("u.url")} AS host
  FROM syncsvc_subscription s JOIN syncsvc_app a ON a.id = s.app_id JOIN syncsvc_repository r ON r.id = s.repository_id
    CROSS JOIN LATERAL (SELECT {CAUSE_URL_SQL} AS url) u
  WHERE {FAILING_SQL}
), causes AS (
  SELECT error_kind, host, count(*) FILTER (WHERE failed) AS failed, count(*) FILTER (WHERE NOT failed) AS retrying,
         count(*) FILTER (WHERE NOT failed AND paused) AS retrying_paused,
         count(DISTINCT app_id) AS apps, min(failing_since) AS since,
         (array_agg(id ORDER BY failing_since DESC NULLS LAST))[1] AS example_id
  FROM wrong GROUP BY error_kind, host
)
SELECT
  (SELECT json_build_object('failed', count(*) FILTER (WHERE failed), 'retrying', count(*) FILTER (WHERE NOT failed),
     'moving', count(*) FILTER (WHERE moving), 'causes', (SELECT count(*) FROM causes),
     'failing_runs', (SELECT count(*) FROM syncsvc_subscription s WHERE {RUN_FAILS_SQL} AND NOT {FAILING_SQL}),
     'total', (SELECT count(*) FROM syncsvc_subscription)) FROM wrong),
  (SELECT json_agg(t) FROM (
     SELECT c.*, x.last_error AS example
     FROM (SELECT * FROM causes ORDER BY failed DESC, retrying DESC, error_kind, host LIMIT %(causes)s) c
     JOIN syncsvc_subscription x ON x.id = c.example_id
     ORDER BY c.failed DESC, c.retrying DESC, c.error_kind, c.host) t),
  (SELECT json_agg(t) FROM (SELECT app_id AS id, min(app) AS name, count(*) AS count FROM wrong
     GROUP BY app_id ORDER BY count DESC, name LIMIT %(choices)s) t),
  (SELECT json_agg(t) FROM (SELECT repository_id AS id, min(repository) AS name, count(*) AS count FROM wrong
     GROUP BY repository_id ORDER BY count DESC, name LIMIT %(choices)s) t),
  (SELECT json_agg(t) FROM (SELECT id, scope FROM syncsvc_operation
     WHERE kind = 'retry' AND {SHOWN_SQL}
     ORDER BY created_at) t)
"""


def failing_numbers() -> dict[str, Any]:
    """By the names of COLUMNS: `counts` is a mapping, the others are lists of rows. Moments are text of ISO 8601."""
    values: dict[str, Any] = {**HOST_VALUES, "causes": CAUSES_SHOWN, "choices": CHOICES}
    with connection.cursor() as cursor:
        cursor.execute(FAILING, values)
        row = cursor.fetchone()
    return {name: value or [] for name, value in zip(COLUMNS, row, strict=True)}
