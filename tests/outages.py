"""Apps whose endpoint is left alone, as runs leave them."""

import uuid
from datetime import timedelta

from django.db.models.functions import Now

from syncsvc.models import App


def open_circuit(app_id: uuid.UUID, *, cooldown: float = 30) -> None:
    """Five different messages failed, and the circuit is open for `cooldown` seconds."""
    App.objects.filter(id=app_id).update(
        failing_messages=[f"{n:016x}" for n in range(5)],
        failure_streak=5,
        circuit_openings=1,
        circuit_opened_at=Now(),
        circuit_until=Now() + timedelta(seconds=cooldown),
    )


def throttle(app_id: uuid.UUID, *, seconds: float = 600) -> None:
    """The endpoint asked for fewer requests, and is left alone for so many seconds."""
    App.objects.filter(id=app_id).update(
        throttled_at=Now(), throttled_since=Now(), throttled_until=Now() + timedelta(seconds=seconds)
    )
