"""Each ending, met by subscriptions in each state: the settlement that follows, without a database."""

import itertools

import pytest

from syncsvc.delivery.retry_policy import CircuitPolicy, RetryPolicy
from syncsvc.error_kinds import POLICIES
from syncsvc.models import Snapshot
from syncsvc.store.throttles import Throttled
from syncsvc.sync.circuit import OpenCircuit
from syncsvc.sync.ending import (
    Ending,
    EndpointLeftAlone,
    EndpointThrottled,
    Failed,
    HandedBack,
    Held,
    Incomplete,
    Progress,
    RemoteLeftAlone,
    Stopped,
    Synced,
    progress_of,
)
from syncsvc.sync.plan import Plan
from syncsvc.sync.settlement import (
    Approval,
    Complete,
    Fail,
    HandBack,
    Postpone,
    Settlement,
    SettlementPolicy,
    Standing,
    Stop,
)
from syncsvc.sync.tally import Tally
from syncsvc.types import ErrorKind

POLICY = SettlementPolicy(
    retry=RetryPolicy(delays=(5, 30), slow=3600, jitter=0.2),
    circuit=CircuitPolicy(threshold=5, cooldown=30, cooldown_max=1800, fail_after=3600),
)
SNAPSHOT = Snapshot(id=7, commit="c" * 40)
PLAN = Plan(known=100, deletes=1, created=2, updated=3)
MANY_DELETES = Plan(known=100, deletes=90, deletes_too_much=True)
APPROVED = Approval("a" * 40, 40)


def standing(
    retry_count: int = 0, *, is_news: bool = False, approval: Approval = APPROVED, remote_failing: float = 0.0
) -> Standing:
    return Standing(
        name="acme/owner/repo",
        retry_count=retry_count,
        is_news=is_news,
        approval=approval,
        remote_failing_seconds=remote_failing,
    )


def settlement(ending: Ending, state: Standing | None = None, *, chance: float = 0.5) -> Settlement:
    return POLICY.settlement(ending, state or standing(), lambda: chance)


def incomplete(
    kind: ErrorKind | None = ErrorKind.ENDPOINT_ERROR,
    *,
    delivered: int = 0,
    plan: Plan = PLAN,
    at_least: float = 0.0,
) -> Incomplete:
    tally = Tally(delivered=delivered, failed=1, kind=kind, error="It failed.", path=b"docs/a")
    return Incomplete(Progress(SNAPSHOT, plan, tally), at_least)


def left_alone(for_seconds: float = 10, plan: Plan = PLAN) -> EndpointLeftAlone:
    return EndpointLeftAlone(OpenCircuit(for_seconds=for_seconds, remaining=30), Progress(SNAPSHOT, plan))


def throttled(
    remaining: float = 60, *, silent: float = 0.0, delivered: int = 0, failed: int = 0, plan: Plan = PLAN
) -> EndpointThrottled:
    tally = Tally(delivered=delivered, failed=failed, throttle_error="The endpoint answered 429.")
    return EndpointThrottled(Throttled(remaining, silent), Progress(SNAPSHOT, plan, tally))


UNREACHABLE = Failed(ErrorKind.GIT_UNREACHABLE, "No connection.")
NO_ACCESS = Failed(ErrorKind.GIT_AUTH, "No access.")
REMOTE_ALONE = RemoteLeftAlone(ErrorKind.GIT_UNREACHABLE, "No connection.", 100)
REMOTE_ALONE_AUTH = RemoteLeftAlone(ErrorKind.GIT_AUTH, "No access.", 7200)
HELD = Held(Progress(SNAPSHOT, MANY_DELETES))
THROTTLED = ErrorKind.ENDPOINT_THROTTLED

# Kind, retry count afterwards, delay, and the least delay where a run was asked for meanwhile; None: failed.
type Move = tuple[ErrorKind, int, float | None, float | None]

FAILURES: list[tuple[str, Ending, Standing, Move]] = [
    ("a first failure", UNREACHABLE, standing(0), (ErrorKind.GIT_UNREACHABLE, 1, 5, 0)),
    ("a second one", UNREACHABLE, standing(1), (ErrorKind.GIT_UNREACHABLE, 2, 30, 0)),
    ("one after the last quick retry", UNREACHABLE, standing(2), (ErrorKind.GIT_UNREACHABLE, 2, 3600, None)),
    ("a permanent kind", NO_ACCESS, standing(0), (ErrorKind.GIT_AUTH, 0, 3600, None)),
    ("a held plan", HELD, standing(1), (ErrorKind.MASS_DELETE_HELD, 1, None, None)),
    ("a remote left alone", REMOTE_ALONE, standing(1), (ErrorKind.GIT_UNREACHABLE, 1, 105, 100)),
    (
        "a remote left alone for too long",
        REMOTE_ALONE,
        standing(1, remote_failing=3600),
        (ErrorKind.GIT_UNREACHABLE, 1, 3600, None),
    ),
    ("a remote left alone for good", REMOTE_ALONE_AUTH, standing(0), (ErrorKind.GIT_AUTH, 0, 7560, None)),
    ("an endpoint left alone", left_alone(), standing(2), (ErrorKind.ENDPOINT_CIRCUIT_OPEN, 2, 31.5, 30)),
    (
        "an endpoint left alone for too long",
        left_alone(3600),
        standing(0),
        (ErrorKind.ENDPOINT_CIRCUIT_OPEN, 0, 3600, None),
    ),
    ("some files refused", incomplete(), standing(0), (ErrorKind.ENDPOINT_ERROR, 1, 5, 0)),
    ("files left without a failure", incomplete(None), standing(0), (ErrorKind.INTERNAL, 1, 5, 0)),
    (
        "a circuit that opened meanwhile",
        incomplete(at_least=60),
        standing(0),
        (ErrorKind.ENDPOINT_ERROR, 1, 63, 60),
    ),
    ("some files taken, a first try", incomplete(delivered=2), standing(0), (ErrorKind.ENDPOINT_ERROR, 1, 5, 0)),
    ("some files taken, a later try", incomplete(delivered=2), standing(2), (ErrorKind.ENDPOINT_ERROR, 1, 5, 0)),
    (
        "some files taken after long planning",
        incomplete(delivered=2, at_least=60),
        standing(1),
        (ErrorKind.ENDPOINT_ERROR, 1, 63, 60),
    ),
    (
        "a crash after long planning and some files",
        Failed(ErrorKind.INTERNAL, "A bug.", progress=incomplete(delivered=2).progress, at_least=60),
        standing(2),
        (ErrorKind.INTERNAL, 1, 63, 60),
    ),
    ("news that fails", incomplete(), standing(1, is_news=True), (ErrorKind.ENDPOINT_ERROR, 1, 30, 0)),
    ("news that gets on", incomplete(delivered=2), standing(1, is_news=True), (ErrorKind.ENDPOINT_ERROR, 0, 5, 0)),
    (
        "news of one that has failed",
        incomplete(),
        standing(2, is_news=True),
        (ErrorKind.ENDPOINT_ERROR, 2, 3600, None),
    ),
    ("news that git fails", UNREACHABLE, standing(1, is_news=True), (ErrorKind.GIT_UNREACHABLE, 1, 30, 0)),
    ("throttling", throttled(), standing(0), (THROTTLED, 0, 60, 60)),
    ("throttling that is over", throttled(0), standing(1), (THROTTLED, 1, 0, 0)),
    ("throttling after the last quick retry", throttled(), standing(2), (THROTTLED, 2, 60, 60)),
    ("throttling after progress", throttled(delivered=1), standing(2), (THROTTLED, 0, 60, 60)),
    ("throttling beside a bad file", throttled(failed=1), standing(1), (THROTTLED, 1, 60, 60)),
    ("throttling without end", throttled(silent=3600), standing(1), (THROTTLED, 1, 3600, None)),
    ("throttling that lasts, with progress", throttled(silent=3600, delivered=1), standing(1), (THROTTLED, 0, 60, 60)),
    (
        "an endpoint that is gone",
        incomplete(ErrorKind.ENDPOINT_GONE),
        standing(0),
        (ErrorKind.ENDPOINT_GONE, 0, 3600, None),
    ),
]


def move(settled: Settlement) -> Move:
    match settled:
        case Postpone(failure=failure, delay=delay, at_least=at_least):
            return failure.kind, failure.retry_count, round(delay, 6), at_least
        case Fail(failure=failure, delay=slow):
            return failure.kind, failure.retry_count, slow and round(slow, 6), None
    raise AssertionError(settled)


@pytest.mark.parametrize(
    ("ending", "state", "expected"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_a_failure_postpones_or_fails(ending: Ending, state: Standing, expected: Move) -> None:
    assert move(settlement(ending, state)) == expected


@pytest.mark.parametrize("state", [standing(0), standing(2), standing(2, remote_failing=1e6)])
def test_ends_without_a_failure_are_the_same_in_every_state(state: Standing) -> None:
    assert settlement(Synced(), state) == Complete(snapshot_id=None)
    assert settlement(Synced(Progress(SNAPSHOT, PLAN)), state) == Complete(snapshot_id=7)
    assert settlement(HandedBack(30, True), state) == HandBack(delay=30, awaits_fetch=True)
    progress = Progress(SNAPSHOT, PLAN, Tally(delivered=2))
    handed_back = settlement(HandedBack(progress=progress), state)
    assert handed_back == HandBack(delay=0, awaits_fetch=False, progressed=True)
    stopped = settlement(Stopped(progress), state)
    assert stopped == Stop(delay=3600, error="Stopped by an operator: 4 changes were not sent.", progressed=True)
    assert settlement(Stopped(Progress(SNAPSHOT, PLAN)), state).progressed is False  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("ending", "is_failing"),
    [(throttled(), False), (throttled(failed=1), True), (throttled(silent=3600), True), (incomplete(), True)],
)
def test_an_endpoint_that_asks_for_fewer_requests_is_not_failing(ending: Ending, is_failing: bool) -> None:
    settled = settlement(ending)
    assert isinstance(settled, Postpone | Fail)
    assert settled.failure.is_failing is is_failing


ENDINGS: list[Ending] = [
    *(Failed(kind, "It failed.") for kind in ErrorKind),
    *(incomplete(kind, delivered=delivered) for kind in ErrorKind for delivered in (0, 2)),
    *(throttled(silent=silent, delivered=delivered) for silent in (0, 1e6) for delivered in (0, 2)),
    *(RemoteLeftAlone(kind, "It failed.", 100) for kind in ErrorKind),
    left_alone(),
    HELD,
]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_every_kind_of_failure_keeps_the_promises_in_every_state(chance: float) -> None:
    for ending, before, is_news in itertools.product(ENDINGS, range(4), (False, True)):
        settled = settlement(ending, standing(before, is_news=is_news), chance=chance)
        assert isinstance(settled, Postpone | Fail)
        policy, failure = POLICIES[settled.failure.kind], settled.failure
        progress = progress_of(ending)
        retry_count = 0 if progress and progress.tally.delivered else before
        assert (settled.delay is not None) is policy.retries_itself
        assert failure.error
        if isinstance(settled, Postpone):
            assert not policy.permanent
            assert settled.delay >= settled.at_least
            assert failure.retry_count == retry_count + (policy.uses_up_try and not is_news and _is_a_try(ending))
        else:
            assert failure.retry_count == retry_count


def _is_a_try(ending: Ending) -> bool:
    """False where nothing could be asked: a remote's or an endpoint's circuit was open."""
    return not isinstance(ending, RemoteLeftAlone) or POLICIES[ending.kind].permanent


@pytest.mark.parametrize(
    ("ending", "left"),
    [
        (UNREACHABLE, APPROVED),
        (NO_ACCESS, APPROVED),
        (REMOTE_ALONE, APPROVED),
        (REMOTE_ALONE_AUTH, APPROVED),
        (left_alone(), APPROVED),
        (incomplete(), APPROVED),
        (throttled(), APPROVED),
        (throttled(plan=MANY_DELETES), Approval(SNAPSHOT.commit, 90)),
        (left_alone(plan=MANY_DELETES), Approval(SNAPSHOT.commit, 90)),
        (incomplete(plan=MANY_DELETES), Approval(SNAPSHOT.commit, 90)),
        (HELD, Approval()),
    ],
)
def test_an_approval_lasts_until_it_is_used_and_ends_with_a_new_hold(ending: Ending, left: Approval) -> None:
    settled = settlement(ending)
    assert isinstance(settled, Postpone | Fail)
    assert Approval(settled.failure.approved_commit, settled.failure.approved_deletes) == left


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (HELD, ("90 of 100 files", "c" * 12, "manage.py sync acme/owner/repo --allow-deletes")),
        (incomplete(delivered=2), ("4 of 6 changes were not taken", "It failed.", "docs/a")),
        (throttled(delivered=2), ("answered 429", "4 changes wait")),
        (left_alone(), ("under a minute", "6 changes wait")),
        (left_alone(600), ("10 min",)),
        (left_alone(plan=Plan(known=1, deletes=1)), ("1 change waits",)),
    ],
)
def test_the_error_says_what_happened(ending: Ending, words: tuple[str, ...]) -> None:
    settled = settlement(ending)
    assert isinstance(settled, Postpone | Fail)
    assert [word for word in words if word not in settled.failure.error] == []
