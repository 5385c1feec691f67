"""When to try again: pure values, with randomness passed in."""

from collections.abc import Callable
from dataclasses import dataclass

from syncsvc.error_kinds import POLICIES
from syncsvc.types import ErrorKind


@dataclass(frozen=True, slots=True)
class Retry:
    """`delay` is in seconds; None means that only an operator starts the next try."""

    failed: bool
    delay: float | None
    retry_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Quick tries after `delays`, then failed with a slow try each `slow` seconds; all ± `jitter` (a fraction)."""

    delays: tuple[float, ...]
    slow: float
    jitter: float = 0.2

    def after_failure(
        self, retry_count: int, kind: ErrorKind, random: Callable[[], float], *, uses_up_try: bool = True
    ) -> Retry:
        """`retry_count` is how many quick tries were made; `random` gives numbers from 0 to 1.

        A run that `uses_up_try` is not counts none, nor does a kind that uses none up.
        """
        policy = POLICIES[kind]
        if not policy.retries_itself:
            return Retry(failed=True, delay=None, retry_count=retry_count)
        if policy.permanent or retry_count >= len(self.delays):
            return Retry(failed=True, delay=self._delay(self.slow, random), retry_count=retry_count)
        delay = self._delay(self.delays[retry_count], random)
        return Retry(failed=False, delay=delay, retry_count=retry_count + (uses_up_try and policy.uses_up_try))

    def _delay(self, delay: float, random: Callable[[], float]) -> float:
        return delay * (1 + self.jitter * (2 * random() - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """Opens after `threshold` failures in a row; subscriptions fail after `fail_after` seconds of an open circuit."""

    threshold: int
    cooldown: float
    cooldown_max: float
    fail_after: float

    def cooldown_after(self, openings: int) -> float:
        """Seconds; `openings` counts those in a row, this one included: the first has the plain cool-down."""
        doublings = min(max(openings - 1, 0), 64)
        return min(self.cooldown * float(2**doublings), self.cooldown_max)
