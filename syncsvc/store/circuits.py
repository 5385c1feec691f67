"""The circuit that protects an app's endpoint: each verb is one statement, so that many workers may call it."""

import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.models import App
from syncsvc.store.statements import fetch_one

# Notes that a message failed, once a message, and no more messages than `most`; nothing where the app has another URL
# by now. Locks the app. Called for each failure that counts for the circuit.
_NOTE_FAILURE = """
UPDATE syncsvc_app SET
  failing_messages = CASE WHEN %(message)s = ANY(failing_messages) OR cardinality(failing_messages) >= %(most)s
                          THEN failing_messages ELSE failing_messages || %(message)s::varchar END,
  failure_streak = CASE WHEN %(message)s = ANY(failing_messages) OR cardinality(failing_messages) >= %(most)s
                        THEN cardinality(failing_messages) ELSE cardinality(failing_messages) + 1 END
WHERE id = %(app)s AND url = %(url)s RETURNING failure_streak, circuit_opened_at IS NOT NULL
"""

# Whether there is a streak of failures, or an open circuit. Locks nothing. Called once a second by each run.
_HAS_STREAK = "SELECT 1 FROM syncsvc_app WHERE id = %(app)s AND (failure_streak > 0 OR circuit_opened_at IS NOT NULL)"


def note_failure(app_id: uuid.UUID, message: str, *, url: str, threshold: int) -> tuple[int, bool]:
    """Counts a message that failed at this URL, once: the streak of different ones, and whether the circuit is open."""
    row = fetch_one(_NOTE_FAILURE, {"app": app_id, "url": url, "message": message, "most": threshold})
    return (row[0], row[1]) if row else (0, False)


def open_circuit(app_id: uuid.UUID, *, url: str, threshold: int, cooldown: float) -> bool:
    """Opens a closed circuit, unless the endpoint of this URL has answered well meanwhile; whether it is open now.

    `cooldown` is in seconds. An open circuit stays as it is: only its probe lengthens it.
    """
    closed = App.objects.filter(id=app_id, url=url, circuit_opened_at=None, failure_streak__gte=threshold)
    closed.update(
        circuit_openings=1, circuit_opened_at=Now(), circuit_until=Now() + timedelta(seconds=cooldown), probe_until=None
    )
    return App.objects.filter(id=app_id, circuit_opened_at__isnull=False).exists()


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
    """Gives back a probe that was never decided."""
    App.objects.filter(id=app_id).update(probe_until=None)


def endpoint_answered(app_id: uuid.UUID) -> bool:
    """Ends the streak of failures; says whether that closed an open circuit."""
    if fetch_one(_HAS_STREAK, {"app": app_id}) is None:
        return False
    with transaction.atomic():
        locked = App.objects.select_for_update(no_key=True).filter(id=app_id)
        was_open = locked.values_list("circuit_opened_at", flat=True).first() is not None
        App.objects.filter(id=app_id).update(
            failing_messages=[],
            failure_streak=0,
            circuit_openings=0,
            circuit_opened_at=None,
            circuit_until=None,
            probe_until=None,
        )
    return was_open


def probe_has_failed_since(app_id: uuid.UUID, at: datetime) -> bool:
    """Whether a probe of a circuit that was open, with its cool-down over, at that time has failed since."""
    open_then = App.objects.filter(id=app_id, circuit_opened_at__lte=at)
    return open_then.filter(circuit_until__gt=Now()).exists()
