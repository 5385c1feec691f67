"""One run's view of its app's pace: how long the endpoint wants to be left alone, and which run goes first then."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from django.conf import settings

from syncsvc.models import App, Subscription
from syncsvc.store import throttles
from syncsvc.store.throttles import Throttled
from syncsvc.sync.lease import Lease
from syncsvc.sync.outage import through_outage
from syncsvc.types import ErrorKind

# A run that waits for the first request of another looks this often whether it succeeded, in seconds.
LOOK_SECONDS = 0.5
# A run sees within so many seconds that its app has another URL.
UNTIL_NEXT_LOOK = 1.0
# Seconds without an acknowledgement after which a throttled run ends and frees its slot.
SILENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicy:
    """All in seconds: the first and the longest wait where the endpoint asks for no time, the longest Retry-After that
    is honoured, and the longest wait that is spent in the run."""

    first: float
    most: float
    retry_after_max: float
    in_run: float

    def asked(self, retry_after: float | None) -> float | None:
        return None if retry_after is None else min(retry_after, self.retry_after_max)


def throttle_policy() -> ThrottlePolicy:
    return ThrottlePolicy(
        first=settings.THROTTLE_FIRST_SECONDS,
        most=settings.THROTTLE_MOST_SECONDS,
        retry_after_max=settings.RETRY_AFTER_MAX_SECONDS,
        in_run=settings.THROTTLE_WAIT_SECONDS,
    )


def throttle_has_ended(app_id: uuid.UUID) -> None:
    """Makes due within seconds each subscription that the app's throttle failed or holds back."""
    of_app = Subscription.objects.filter(app_id=app_id)
    of_app.outage_ended([ErrorKind.ENDPOINT_THROTTLED])
    of_app.wake_ups_are_lost()


class _Pace(Enum):
    """FREE: as many requests as the window takes. WAITING: none. FIRST: one at a time, until one succeeds."""

    FREE = auto()
    WAITING = auto()
    FIRST = auto()


class EndpointThrottle:
    """Waits that the endpoint asked for, over all its runs and workers. One thread's."""

    def __init__(self, app: App, lease: Lease, now: Callable[[], datetime]) -> None:
        """`now` gives the database's time."""
        self._app_id, self._url, self._lease, self._now = app.id, app.url, lease, now
        self._policy = throttle_policy()
        self._pace = _Pace.FREE if app.throttled_until is None else _Pace.WAITING
        self._until = time.monotonic()
        # This run went first by its own claim, not by the probe of the app's circuit.
        self._has_place = False
        # Since the last look there was an acknowledgement; the clock is not read for each.
        self._was_heard = False
        self._heard_at = time.monotonic()
        self._silent = 0.0

    def enter(self, *, early: bool, probing: bool = False, known: bool = False) -> Throttled | None:
        """None where this run may send, as the first one perhaps; `early` does not wait for the end.

        `probing`: this run has the probe of the app's circuit, and goes first by that. `known`: the app was read a
        moment ago.
        """
        if known and self._pace is _Pace.FREE:
            return None
        state = self._state()
        if state is None:
            self._pace = _Pace.FREE
            return None
        if probing and (early or not state.remaining):
            self._pace = _Pace.FIRST
            return None
        if (early or not state.remaining) and self._goes_first(early=early):
            return None
        return state

    @property
    def one_at_a_time(self) -> bool:
        return self._pace is _Pace.FIRST

    @property
    def remaining(self) -> float:
        """Seconds until it is looked again whether this run may send; 0 where it may."""
        return max(0.0, self._until - time.monotonic()) if self._pace is _Pace.WAITING else 0.0

    @property
    def state(self) -> Throttled:
        """The wait as it was known last."""
        return Throttled(self.remaining, self._silent)

    def may_send(self) -> bool:
        """Looks at the database only when a wait is over."""
        if self._pace is not _Pace.WAITING:
            return True
        if time.monotonic() < self._until:
            return False
        state = self._state()
        if state is None:
            self._pace = _Pace.FREE
            return True
        if not state.remaining and self._goes_first(early=False):
            return True
        self._silent = state.silent
        self._until = time.monotonic() + (state.remaining or LOOK_SECONDS)
        return False

    def refused(self, retry_after: float | None) -> bool:
        """Takes a refusal into account: the first of its round, or one that asks for a longer wait.

        True where a wait began with it, over all runs and workers.
        """
        asked = self._policy.asked(retry_after)
        if asked is not None and asked <= self.remaining:
            return False
        first, most = self._policy.first, self._policy.most
        went_first = self._has_place and self._pace is _Pace.FIRST
        state, begins = through_outage(
            self._lease,
            lambda: throttles.throttle(
                self._app_id, url=self._url, asked=asked, first=first, most=most, went_first=went_first
            ),
        )
        # An endpoint that the app has left is asked nothing more: the next look finds the new one.
        self.waits(state or Throttled(UNTIL_NEXT_LOOK, self._silent))
        return begins

    def waits(self, state: Throttled) -> None:
        """Another run met a refusal, or this one."""
        self._pace, self._silent, self._has_place = _Pace.WAITING, state.silent, False
        self._until = time.monotonic() + state.remaining

    def refused_again(self) -> None:
        """Takes a refusal into account whose round has been counted, in this run or another."""
        if self._pace is _Pace.FREE and (state := self._state()):
            self.met_by_another(state)

    def met_by_another(self, state: Throttled) -> None:
        """Another run or worker met a refusal meanwhile."""
        if self._pace is _Pace.FREE and state.remaining:
            self.waits(state)

    def forget(self, url: str) -> None:
        """The app has another URL, which asked for nothing yet."""
        self._url = url
        self._pace = _Pace.FREE

    def acknowledged(self, sent_at: datetime) -> None:
        """Ends the wait for all runs where this request was sent after the last refusal. `sent_at`: the database's."""
        self._was_heard = True
        if self._pace is _Pace.FREE:
            return
        if through_outage(self._lease, lambda: throttles.end_throttle(self._app_id, sent_at=sent_at)):
            through_outage(self._lease, lambda: throttle_has_ended(self._app_id))
            self._pace = _Pace.FREE
        elif self._pace is _Pace.FIRST:
            self._look_again()

    def _look_again(self) -> None:
        """The first request succeeded and did not end the wait: another run was refused since, or has ended it."""
        state = self._state()
        if state is None:
            self._pace = _Pace.FREE
        elif state.remaining:
            self.waits(state)

    def ends_run(self) -> Throttled | None:
        """The wait, where it is too long to be spent in the run; None where the run may go on. Ask often."""
        if self._was_heard:
            self._was_heard, self._heard_at = False, time.monotonic()
        if self._pace is not _Pace.WAITING:
            return None
        state = self.state
        silent = time.monotonic() - self._heard_at >= SILENT_SECONDS
        return state if state.remaining > self._policy.in_run or silent else None

    def leave(self) -> None:
        """Gives the place of the first run back where its request was never decided."""
        if self._pace is _Pace.FIRST:
            through_outage(self._lease, lambda: throttles.give_way(self._app_id))
            self._pace = _Pace.WAITING

    def _goes_first(self, *, early: bool) -> bool:
        won = through_outage(
            self._lease,
            lambda: throttles.go_first(self._app_id, early=early, seconds=settings.LEASE_SECONDS),
        )
        if won:
            self._pace, self._has_place = _Pace.FIRST, True
        return won

    def _state(self) -> Throttled | None:
        return through_outage(self._lease, lambda: throttles.throttled(self._app_id))
