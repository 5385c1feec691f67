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
    retry_after_max: float
    jitter: float = 0.2

    def after_failure(
        self, retry_count: int, kind: ErrorKind, retry_after: float | None, random: Callable[[], float]
    ) -> Retry:
        """`retry_count` is how many quick tries were made; `random` gives numbers from 0 to 1."""
        policy = POLICIES[kind]
        if not policy.retries_itself:
            return Retry(failed=True, delay=None, retry_count=retry_count)
        if policy.permanent or retry_count >= len(self.delays):
            return Retry(failed=True, delay=self._delay(self.slow, retry_after, random), retry_count=retry_count)
        delay = self._delay(self.delays[retry_count], retry_after, random)
        return Retry(failed=False, delay=delay, retry_count=retry_count + (1 if policy.uses_up_try else 0))

    def _delay(self, delay: float, retry_after: float | None, random: Callable[[], float]) -> float:
        spread = delay * (1 + self.jitter * (2 * random() - 1))
        return max(spread, min(retry_after or 0, self.retry_after_max))


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
