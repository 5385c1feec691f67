"""The circuit that protects an app's endpoint: each verb is one statement, so that many workers may call it."""

import uuid
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.models import App
from syncsvc.store.statements import fetch_one

# Adds failures in a row, and opens a closed circuit where they reach the threshold. Locks the app.
_COUNT_FAILURES = """
UPDATE syncsvc_app SET
  failure_streak = failure_streak + %(failures)s,
  circuit_openings = CASE WHEN opens THEN 1 ELSE circuit_openings END,
  circuit_opened_at = CASE WHEN opens THEN now() ELSE circuit_opened_at END,
  circuit_until = CASE WHEN opens THEN now() + make_interval(secs => %(cooldown)s) ELSE circuit_until END
FROM (
  SELECT id AS app_id, circuit_opened_at IS NULL AND failure_streak + %(failures)s >= %(threshold)s AS opens
  FROM syncsvc_app WHERE id = %(app)s FOR UPDATE
) before
WHERE id = app_id RETURNING circuit_opened_at IS NOT NULL
"""

# Ends a streak of failures and closes the circuit; returns whether it was open. Locks the app where there is a streak.
_END_STREAK = """
UPDATE syncsvc_app SET
  failure_streak = 0, circuit_openings = 0, circuit_opened_at = NULL, circuit_until = NULL, probe_until = NULL
FROM (
  SELECT id AS app_id, circuit_opened_at IS NOT NULL AS was_open FROM syncsvc_app
  WHERE id = %(app)s AND (failure_streak > 0 OR circuit_opened_at IS NOT NULL) FOR UPDATE
) before
WHERE id = app_id RETURNING was_open
"""


def count_failures(app_id: uuid.UUID, failures: int, *, threshold: int, cooldown: float) -> bool:
    """Adds failures in a row, opens the circuit where they reach the threshold, and says whether it is open.

    `cooldown` is in seconds. An open circuit stays as it is: only its probe lengthens it.
    """
    values = {"app": app_id, "failures": failures, "threshold": threshold, "cooldown": cooldown}
    row = fetch_one(_COUNT_FAILURES, values)
    return bool(row and row[0])


def take_probe(app_id: uuid.UUID, *, early: bool, seconds: float) -> bool:
    """Claims the one probe of an open circuit: when its cool-down is over, or at once where `early`."""
    free = Q(probe_until=None) | Q(probe_until__lte=Now())
    ready = Q() if early else Q(circuit_until__lte=Now())
    probe = App.objects.filter(free, ready, id=app_id, circuit_opened_at__isnull=False)
    return probe.update(probe_until=Now() + timedelta(seconds=seconds)) == 1


def probe_failed(app_id: uuid.UUID, *, cooldown: float) -> None:
    """Keeps the circuit open for another cool-down, in seconds."""
    App.objects.filter(id=app_id, circuit_opened_at__isnull=False).update(
        circuit_openings=F("circuit_openings") + 1,
        circuit_until=Now() + timedelta(seconds=cooldown),
        probe_until=None,
    )


def release_probe(app_id: uuid.UUID) -> None:
    """Gives back a probe that was never sent."""
    App.objects.filter(id=app_id).update(probe_until=None)


def endpoint_answered(app_id: uuid.UUID) -> bool:
    """Ends the streak of failures; says whether that closed an open circuit."""
    row = fetch_one(_END_STREAK, {"app": app_id})
    return bool(row and row[0])
