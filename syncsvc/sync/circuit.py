"""One run's view of its app's circuit: who may send, and what each answer says of the endpoint."""

import time
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now

from syncsvc.delivery.retry_policy import CircuitPolicy
from syncsvc.delivery.transport import Answer, counts_for_circuit
from syncsvc.models import App, Subscription
from syncsvc.models.pausing import set_active
from syncsvc.sync.lease import Lease
from syncsvc.sync.outage import through_outage
from syncsvc.types import ErrorKind

GONE = "The endpoint answered 410 Gone: it wants no more webhooks. Set its new URL and resume, or delete the app."


def pause_gone(app: App) -> None:
    """Pauses an app whose endpoint answered 410, unless it has another URL by now."""
    set_active(App.objects.filter(id=app.id, url=app.url), is_active=False, reason=GONE)


# How often a run tells the database that its endpoint answers.
FLUSH_SECONDS = 1.0


def circuit_policy() -> CircuitPolicy:
    return CircuitPolicy(
        threshold=settings.CIRCUIT_THRESHOLD,
        cooldown=settings.CIRCUIT_COOLDOWN_SECONDS,
        cooldown_max=settings.CIRCUIT_COOLDOWN_MAX_SECONDS,
        fail_after=settings.CIRCUIT_FAIL_AFTER_SECONDS,
    )


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """An endpoint that nothing is sent to: for how many seconds it has been so, and for how many it stays so."""

    for_seconds: float
    remaining: float


class EndpointCircuit:
    """Counts failures in a row for the app, over all its runs and workers. One thread's."""

    def __init__(self, app: App, lease: Lease) -> None:
        self._app, self._app_id, self._lease = app, app.id, lease
        self._policy = circuit_policy()
        self._answered = False
        self._last_flush = time.monotonic()
        # No failure has been counted, here or, when this run began, anywhere: a short run has nothing to end.
        self._healthy = False
        self.probing = False
        self.opened = False

    def enter(self, *, early: bool, known: bool = False) -> OpenCircuit | None:
        """None where this run may send, as the probe of an open circuit perhaps; `early` does not wait for its end.

        `known` says that the app was read a moment ago.
        """
        if known and self._app.circuit_opened_at is None:
            self._healthy = not self._app.failure_streak
            return None
        streak, state = through_outage(self._lease, self._state)
        self._healthy = not streak
        if state is None:
            return None
        if App.objects.take_probe(self._app_id, early=early, seconds=settings.LEASE_SECONDS):
            self.probing = True
            return None
        return state

    def note(self, answer: Answer) -> None:
        """Takes an answer into account. After it `opened` says whether to stop, `probing` whether to go one by one."""
        if not counts_for_circuit(answer):
            self._answered = True
            if self.probing:
                self.flush()
            return
        self._healthy = False
        if self.probing:
            self.probing = False
            self.opened = True
            through_outage(self._lease, self._probe_failed)
        else:
            self.flush()
            self.opened = through_outage(self._lease, self._count_failure)

    def flush_if_due(self) -> None:
        """Flushes once a second: while all goes well there is nothing to end, and the sending waits for the answer."""
        if time.monotonic() - self._last_flush >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Ends the streak in the database where the endpoint has answered since the last call."""
        self._last_flush = time.monotonic()
        if self._answered:
            if through_outage(self._lease, lambda: App.objects.endpoint_answered(self._app_id)):
                through_outage(self._lease, self._let_runs_go_on)
            self._answered = self.probing = self.opened = False

    def leave(self) -> None:
        """Gives back a probe that was never decided."""
        if not self._healthy or time.monotonic() - self._last_flush >= FLUSH_SECONDS:
            self.flush()
        if self.probing:
            through_outage(self._lease, lambda: App.objects.release_probe(self._app_id))
            self.probing = False

    def remaining(self) -> float:
        """Seconds until the circuit's cool-down ends; 0 where it is closed."""
        _, state = through_outage(self._lease, self._state)
        return state.remaining if state else 0.0

    def _probe_failed(self) -> None:
        openings = App.objects.values_list("circuit_openings", flat=True).get(id=self._app_id)
        App.objects.probe_failed(self._app_id, cooldown=self._policy.cooldown_after(openings + 1))

    def _count_failure(self) -> bool:
        return App.objects.count_failures(
            self._app_id, 1, threshold=self._policy.threshold, cooldown=self._policy.cooldown_after(1)
        )

    def _let_runs_go_on(self) -> None:
        held = Subscription.objects.filter(app_id=self._app_id, error_kind=ErrorKind.ENDPOINT_CIRCUIT_OPEN)
        held.circuit_closed()

    def _state(self) -> tuple[int, OpenCircuit | None]:
        """The failures in a row so far, and the circuit where it is open."""
        now = ExpressionWrapper(Now(), output_field=DateTimeField())
        rows = App.objects.filter(id=self._app_id)
        for streak, opened_at, until, at in rows.values_list(
            "failure_streak", "circuit_opened_at", "circuit_until", now
        ):
            if opened_at is None:
                return streak, None
            return streak, OpenCircuit(_seconds(at, opened_at), max(0.0, _seconds(until, at)))
        return 0, None


def _seconds(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()
