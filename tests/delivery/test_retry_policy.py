import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.delivery.retry_policy import CircuitPolicy, Retry, RetryPolicy
from syncsvc.error_kinds import POLICIES
from syncsvc.types import ErrorKind

POLICY = RetryPolicy(delays=(5, 30, 120), slow=3600, jitter=0.2)
CIRCUIT = CircuitPolicy(threshold=5, cooldown=30, cooldown_max=1800, fail_after=3600)


def middle() -> float:
    return 0.5


@pytest.mark.parametrize(
    ("retry_count", "kind", "random", "expected"),
    [
        (0, ErrorKind.ENDPOINT_ERROR, 0.5, Retry(failed=False, delay=5, retry_count=1)),
        (1, ErrorKind.ENDPOINT_TIMEOUT, 0.5, Retry(failed=False, delay=30, retry_count=2)),
        (2, ErrorKind.GIT_UNREACHABLE, 0.5, Retry(failed=False, delay=120, retry_count=3)),
        (3, ErrorKind.ENDPOINT_ERROR, 0.5, Retry(failed=True, delay=3600, retry_count=3)),
        (9, ErrorKind.INTERNAL, 0.5, Retry(failed=True, delay=3600, retry_count=9)),
        (0, ErrorKind.ENDPOINT_ERROR, 0.0, Retry(failed=False, delay=4, retry_count=1)),
        (0, ErrorKind.ENDPOINT_ERROR, 1.0, Retry(failed=False, delay=6, retry_count=1)),
        (1, ErrorKind.ENDPOINT_THROTTLED, 0.5, Retry(failed=False, delay=30, retry_count=1)),
        (0, ErrorKind.ENDPOINT_GONE, 0.5, Retry(failed=True, delay=3600, retry_count=0)),
        (0, ErrorKind.GIT_AUTH, 0.5, Retry(failed=True, delay=3600, retry_count=0)),
        (1, ErrorKind.MASS_DELETE_HELD, 0.5, Retry(failed=True, delay=None, retry_count=1)),
    ],
)
def test_what_follows_a_failure(retry_count: int, kind: ErrorKind, random: float, expected: Retry) -> None:
    assert POLICY.after_failure(retry_count, kind, lambda: random) == expected


@pytest.mark.parametrize("kind", [kind for kind, policy in POLICIES.items() if policy.permanent])
def test_permanent_kinds_fail_at_once(kind: ErrorKind) -> None:
    assert POLICY.after_failure(0, kind, middle).failed


def test_without_quick_tries_every_failure_is_failed() -> None:
    policy = RetryPolicy(delays=(), slow=60)
    assert policy.after_failure(0, ErrorKind.ENDPOINT_ERROR, middle) == Retry(True, 60, 0)


@pytest.mark.parametrize("kind", [kind for kind, policy in POLICIES.items() if not policy.permanent])
def test_a_try_that_uses_none_up_waits_as_long_and_leaves_the_count_alone(kind: ErrorKind) -> None:
    for count in range(5):
        counted = POLICY.after_failure(count, kind, middle)
        free = POLICY.after_failure(count, kind, middle, uses_up_try=False)
        assert (free.failed, free.delay, free.retry_count) == (counted.failed, counted.delay, count)


@given(st.integers(0, 2), st.floats(0, 1))
def test_delays_stay_within_jitter(count: int, chance: float) -> None:
    delay = POLICY.after_failure(count, ErrorKind.ENDPOINT_ERROR, lambda: chance).delay
    assert delay is not None
    assert POLICY.delays[count] * 0.8 - 1e-6 <= delay <= POLICY.delays[count] * 1.2 + 1e-6


@pytest.mark.parametrize(
    ("openings", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (6, 960), (7, 1800), (8, 1800), (10**6, 1800)]
)
def test_cool_downs_double_up_to_the_longest(openings: int, seconds: float) -> None:
    assert CIRCUIT.cooldown_after(openings) == seconds
