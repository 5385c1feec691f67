from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.delivery.retry_policy import CircuitPolicy, Retry, RetryPolicy
from syncsvc.error_kinds import POLICIES
from syncsvc.types import ErrorKind

POLICY = RetryPolicy(delays=(5, 30, 120), slow=3600, retry_after_max=600, jitter=0.2)
CIRCUIT = CircuitPolicy(threshold=5, cooldown=30, cooldown_max=1800, fail_after=3600)


def middle() -> float:
    return 0.5


@pytest.mark.parametrize(
    ("retry_count", "kind", "retry_after", "random", "expected"),
    [
        (0, ErrorKind.ENDPOINT_ERROR, None, 0.5, Retry(failed=False, delay=5, retry_count=1)),
        (1, ErrorKind.ENDPOINT_TIMEOUT, None, 0.5, Retry(failed=False, delay=30, retry_count=2)),
        (2, ErrorKind.GIT_UNREACHABLE, None, 0.5, Retry(failed=False, delay=120, retry_count=3)),
        (3, ErrorKind.ENDPOINT_ERROR, None, 0.5, Retry(failed=True, delay=3600, retry_count=3)),
        (9, ErrorKind.INTERNAL, None, 0.5, Retry(failed=True, delay=3600, retry_count=9)),
        (0, ErrorKind.ENDPOINT_ERROR, None, 0.0, Retry(failed=False, delay=4, retry_count=1)),
        (0, ErrorKind.ENDPOINT_ERROR, None, 1.0, Retry(failed=False, delay=6, retry_count=1)),
        (0, ErrorKind.ENDPOINT_THROTTLED, 60, 0.5, Retry(failed=False, delay=60, retry_count=1)),
        (1, ErrorKind.ENDPOINT_THROTTLED, 1, 0.5, Retry(failed=False, delay=30, retry_count=2)),
        (0, ErrorKind.ENDPOINT_THROTTLED, 86_400, 0.5, Retry(failed=False, delay=600, retry_count=1)),
        (3, ErrorKind.ENDPOINT_THROTTLED, 86_400, 0.5, Retry(failed=True, delay=3600, retry_count=3)),
        (0, ErrorKind.ENDPOINT_GONE, None, 0.5, Retry(failed=True, delay=3600, retry_count=0)),
        (0, ErrorKind.GIT_AUTH, None, 0.5, Retry(failed=True, delay=3600, retry_count=0)),
        (1, ErrorKind.MASS_DELETE_HELD, None, 0.5, Retry(failed=True, delay=None, retry_count=1)),
    ],
)
def test_what_follows_a_failure(
    retry_count: int, kind: ErrorKind, retry_after: float | None, random: float, expected: Retry
) -> None:
    assert POLICY.after_failure(retry_count, kind, retry_after, lambda: random) == expected


@pytest.mark.parametrize("kind", [kind for kind, policy in POLICIES.items() if policy.permanent])
def test_permanent_kinds_fail_at_once(kind: ErrorKind) -> None:
    assert POLICY.after_failure(0, kind, None, middle).failed


def test_without_quick_tries_every_failure_is_failed() -> None:
    policy = RetryPolicy(delays=(), slow=60, retry_after_max=600)
    assert policy.after_failure(0, ErrorKind.ENDPOINT_ERROR, None, middle) == Retry(True, 60, 0)


@given(
    st.integers(0, 2),
    st.none() | st.floats(0, 1e6),
    st.floats(0, 1),
)
def test_delays_stay_within_jitter_or_honour_the_endpoint(count: int, asked: float | None, chance: float) -> None:
    random: Callable[[], float] = lambda: chance  # noqa: E731
    delay = POLICY.after_failure(count, ErrorKind.ENDPOINT_THROTTLED, asked, random).delay
    plain = POLICY.delays[count]
    wished = min(asked or 0, POLICY.retry_after_max)
    assert delay is not None
    assert max(plain * 0.8, wished) - 1e-6 <= delay <= max(plain * 1.2, wished) + 1e-6


@pytest.mark.parametrize(
    ("openings", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (6, 960), (7, 1800), (8, 1800), (10**6, 1800)]
)
def test_cool_downs_double_up_to_the_longest(openings: int, seconds: float) -> None:
    assert CIRCUIT.cooldown_after(openings) == seconds
