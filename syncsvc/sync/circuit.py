"""One run's view of its app's circuit: who may send, and what each answer says of the endpoint."""

import hashlib
import time
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Greatest, Now

from syncsvc.delivery.retry_policy import CircuitPolicy
from syncsvc.error_kinds import OUTAGE_KINDS
from syncsvc.models import App, Subscription
from syncsvc.models.pausing import set_active
from syncsvc.store import circuits
from syncsvc.sync.lease import Lease
from syncsvc.sync.outage import through_outage

GONE = "The endpoint answered 410 Gone: it wants no more webhooks. Set its new URL and resume, or delete the app."


def pause_gone(app_id: uuid.UUID, *, url: str) -> None:
    """Pauses an app whose endpoint at this URL answered 410, unless it has another URL by now."""
    set_active(App.objects.filter(id=app_id, url=url), is_active=False, reason=GONE)


# An endpoint that may be down is asked by a ping after so many more different messages have failed, sent since it was
# suspected and with no success between: a run of bad files is not a bad endpoint.
PROOF = 10
# It also counts as down where it answers pings and none of this number of different messages in a row, or none for this
# number of seconds.
FRUITLESS_MESSAGES = 1000
FRUITLESS_SECONDS = 30.0
# How often a run tells the database that its endpoint answers.
FLUSH_SECONDS = 1.0


def circuit_policy() -> CircuitPolicy:
    return CircuitPolicy(
        threshold=settings.CIRCUIT_THRESHOLD,
        cooldown=settings.CIRCUIT_COOLDOWN_SECONDS,
        cooldown_max=settings.CIRCUIT_COOLDOWN_MAX_SECONDS,
        fail_after=settings.CIRCUIT_FAIL_AFTER_SECONDS,
    )


def circuit_has_closed(app_id: uuid.UUID) -> int:
    """Makes due within seconds each subscription that an outage of the endpoint failed or holds back; how many."""
    return Subscription.objects.filter(app_id=app_id).outage_ended(OUTAGE_KINDS)


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """An endpoint that nothing is sent to: for how many seconds it has been so, and for how many it stays so.

    While a probe is out, `remaining` lasts until that probe would be free again: a run that is due before then would
    meet it again and again.
    """

    for_seconds: float
    remaining: float


class EndpointCircuit:
    """Counts different messages that failed in a row for the app, over all its runs and workers. One thread's.

    The count alone opens nothing: `suspects` says that the endpoint may be down. The run then tries other messages;
    where these fail as well, or none is left, it `asks` by a ping, and only a ping that fails opens the circuit. An
    answer to anything of the app ends the suspicion.
    """

    def __init__(self, app: App, subscription_id: uuid.UUID, lease: Lease) -> None:
        self._app, self._app_id, self._url, self._lease = app, app.id, app.url, lease
        self._subscription_id = subscription_id
        self._policy = circuit_policy()
        self._answered = False
        self._last_flush = time.monotonic()
        # No failure has been counted, here or, when this run began, anywhere: a short run has nothing to end.
        self._healthy = False
        # Messages that failed in this run since its last success, a ping's included; and new ones since its last
        # success but pings.
        self._in_a_row: set[str] = set()
        self._fruitless: set[str] = set()
        self._fruitless_since = 0.0
        # So many in a row are proof enough to ask.
        self._proof_at = 0
        self.probing = False
        self.opened = False
        self.suspects = False
        self.asks = False
        # The probe of an open circuit failed: what else waits for this app's circuit has its answer.
        self.probe_has_failed = False

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
        if through_outage(
            self._lease,
            lambda: circuits.take_probe(self._app_id, early=early, seconds=settings.LEASE_SECONDS),
        ):
            self.probing = True
            return None
        return state

    def answered(self, *, ping: bool = False) -> None:
        """The endpoint answered in a way that says nothing against it: a stop of this run is taken back."""
        self._in_a_row.clear()
        if not ping:
            self._fruitless.clear()
        self._answered = True
        if self.probing or self.suspects or self.opened:
            self.flush()

    def failed(self, path: bytes, *, is_new: bool, timed_out: bool, on_their_way: int) -> None:
        """A message about this path failed in a way that counts: once, however often it is tried.

        `is_new`: it has not failed before, in this run or the last one. `on_their_way` is how many other messages of
        the run are: they were sent before this failure was known.
        """
        self._healthy = False
        if self.probing:
            self._end_probe()
            return
        message = hashlib.blake2b(self._subscription_id.bytes + path, digest_size=8).hexdigest()
        if message in self._in_a_row:
            return
        self._in_a_row.add(message)
        if is_new:
            self._fruitless_since = self._fruitless_since if self._fruitless else time.monotonic()
            self._fruitless.add(message)
        suspected, self.suspects = self.suspects, self._note(message)
        if self.suspects and not suspected:
            # Silence costs a whole time-out each time: it is asked at once.
            self._proof_at = len(self._in_a_row) + (0 if timed_out else on_their_way + PROOF)
        if self.suspects and not self.opened and len(self._in_a_row) >= self._proof_at:
            self._conclude()

    def refused_round(self) -> None:
        """The endpoint answered 503 to everything since the last wait, which counts once; no other message can tell."""
        self._healthy = False
        if self.probing:
            self._end_probe()
        elif self._note(uuid.uuid4().hex[:16]):
            self._believe()

    def ping_failed(self) -> None:
        """The ping that was sent as a question, or as the probe, failed."""
        if self.probing:
            self._end_probe()
        elif self.suspects:
            self._believe()
        self.asks = False

    def flush_if_due(self) -> None:
        """Flushes once a second: while all goes well there is nothing to end, and the sending waits for the answer."""
        if time.monotonic() - self._last_flush >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Ends the streak in the database where the endpoint has answered since the last call."""
        self._last_flush = time.monotonic()
        if self._answered:
            if through_outage(self._lease, lambda: circuits.endpoint_answered(self._app_id)):
                through_outage(self._lease, lambda: circuit_has_closed(self._app_id))
            self._end_suspicion()

    def forget(self, url: str) -> None:
        """The app has another URL, which has failed in nothing yet."""
        self._url = url
        self._in_a_row.clear()
        self._fruitless.clear()
        self._end_suspicion()

    def leave(self) -> None:
        """Gives back a probe that was never decided."""
        if not self._healthy or time.monotonic() - self._last_flush >= FLUSH_SECONDS:
            self.flush()
        if self.probing:
            through_outage(self._lease, lambda: circuits.release_probe(self._app_id))
            self.probing = False

    def remaining(self) -> float:
        """Seconds until the circuit's cool-down ends; 0 where it is closed."""
        _, state = through_outage(self._lease, self._state)
        return state.remaining if state else 0.0

    def _end_suspicion(self) -> None:
        self._answered = self.probing = self.opened = self.suspects = self.asks = self.probe_has_failed = False

    def _note(self, message: str) -> bool:
        """Counts it in the database: whether the endpoint is suspected now. Another run may have opened the circuit."""
        self.flush()
        streak, is_open = through_outage(
            self._lease,
            lambda: circuits.note_failure(self._app_id, message, url=self._url, threshold=self._policy.threshold),
        )
        self.opened = self.opened or is_open
        return streak >= self._policy.threshold

    def _conclude(self) -> None:
        """So many messages fail that the endpoint is asked; or, where it answers pings and nothing else, no more."""
        seconds = time.monotonic() - self._fruitless_since
        enough = self._policy.threshold + PROOF
        if len(self._fruitless) >= FRUITLESS_MESSAGES or (
            len(self._fruitless) >= enough and seconds >= FRUITLESS_SECONDS
        ):
            self._believe()
        else:
            self.asks = True

    def _believe(self) -> None:
        """The endpoint is down: opens the circuit, unless another run has had a success meanwhile."""
        self.opened = through_outage(
            self._lease,
            lambda: circuits.open_circuit(
                self._app_id,
                url=self._url,
                threshold=self._policy.threshold,
                cooldown=self._policy.cooldown_after(1),
            ),
        )
        if not self.opened:
            self._in_a_row.clear()
            self._fruitless.clear()
            self.suspects = False

    def _end_probe(self) -> None:
        self.probing, self.opened, self.probe_has_failed = False, True, True
        openings = through_outage(self._lease, self._openings)
        cooldown = self._policy.cooldown_after(openings + 1)
        through_outage(self._lease, lambda: circuits.probe_failed(self._app_id, cooldown=cooldown))

    def _openings(self) -> int:
        return App.objects.values_list("circuit_openings", flat=True).get(id=self._app_id)

    def _state(self) -> tuple[int, OpenCircuit | None]:
        """The failures in a row so far, and the circuit where it is open."""
        now = ExpressionWrapper(Now(), output_field=DateTimeField())
        rows = App.objects.filter(id=self._app_id)
        until = Greatest("circuit_until", "probe_until")
        for streak, opened_at, ends_at, at in rows.values_list("failure_streak", "circuit_opened_at", until, now):
            if opened_at is None:
                return streak, None
            return streak, OpenCircuit(_seconds(at, opened_at), max(0.0, _seconds(ends_at, at)))
        return 0, None


def _seconds(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()
