"""Deciding how a run's ending moves its subscription: pure, of the ending, the subscription's state and policies."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from syncsvc.delivery.retry_policy import CircuitPolicy, RetryPolicy
from syncsvc.error_kinds import POLICIES
from syncsvc.models.status import Failure
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
)
from syncsvc.sync.settlement_text import held_text, incomplete_text, left_alone_text, stopped_text, throttled_text
from syncsvc.types import ErrorKind

# The end of a cool-down is not the moment for everyone at once.
COOLDOWN_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Approval:
    """Deletes that an operator has allowed: those of `commit`, and no more than `deletes` of any other."""

    commit: str = ""
    deletes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state that a subscription brought into its run."""

    name: str
    retry_count: int
    # A poll or a push asked for this run: it uses no try up.
    is_news: bool
    approval: Approval
    remote_failing_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The app has everything of the snapshot; None: of a repository without commits."""

    snapshot_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """Due again in `delay` seconds; where a run was asked for meanwhile, in `at_least` seconds."""

    failure: Failure
    delay: float
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Failed; the slow try is due in `delay` seconds. None: only an operator starts the next try."""

    failure: Failure
    delay: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """As if the run had not been claimed, due in `delay` seconds or when the fetch that it awaits ends.

    `progressed`: it got something across, which starts a new streak of tries.
    """

    delay: float
    awaits_fetch: bool
    progressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Pending until the next change, an operator's retry, or the slow try in `delay` seconds; else as HandBack."""

    delay: float
    error: str
    progressed: bool = False


# Settlements of runs that did not complete.
type Moved = Postpone | Fail | HandBack | Stop
type Settlement = Complete | Moved


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementPolicy:
    retry: RetryPolicy
    circuit: CircuitPolicy

    def settlement(self, ending: Ending, standing: Standing, random: Callable[[], float]) -> Settlement:
        """`random` gives numbers from 0 to 1."""
        match ending:
            case Synced():
                return Complete(snapshot_id=ending.progress.snapshot.id if ending.progress else None)
            case HandedBack():
                progressed = _has_progressed(ending.progress)
                return HandBack(delay=ending.delay, awaits_fetch=ending.awaits_fetch, progressed=progressed)
            case Incomplete():
                return self._incomplete(ending, standing, random)
            case Failed():
                return self._broken_off(ending, standing, random)
            case Held():
                # An approval that did not cover these deletes ends.
                text = held_text(standing.name, ending.progress)
                return self._tried(ErrorKind.MASS_DELETE_HELD, text, standing, Approval(), random)
            case RemoteLeftAlone():
                return self._remote_left_alone(ending, standing, random)
            case EndpointLeftAlone():
                return self._endpoint_left_alone(ending, standing, random)
            case EndpointThrottled():
                return self._throttled(ending, standing)
            case Stopped():
                error, progressed = stopped_text(ending.progress), _has_progressed(ending.progress)
                return Stop(delay=self.retry.slow, error=error, progressed=progressed)

    def _broken_off(self, ending: Failed, standing: Standing, random: Callable[[], float]) -> Postpone | Fail:
        progress = ending.progress
        return self._tried(
            ending.kind,
            ending.error,
            standing,
            _approval_left(progress, standing) if progress else standing.approval,
            random,
            at_least=ending.at_least,
            progressed=_has_progressed(progress),
        )

    def _incomplete(self, ending: Incomplete, standing: Standing, random: Callable[[], float]) -> Postpone | Fail:
        return self._tried(
            ending.progress.tally.kind or ErrorKind.INTERNAL,
            incomplete_text(ending.progress),
            standing,
            _approval_left(ending.progress, standing),
            random,
            at_least=ending.at_least,
            progressed=_has_progressed(ending.progress),
        )

    def _throttled(self, ending: EndpointThrottled, standing: Standing) -> Postpone | Fail:
        """Due exactly when the wait is over; no try is used up. Failed where nothing was taken for too long."""
        tally = ending.progress.tally
        failure = _failure(
            ErrorKind.ENDPOINT_THROTTLED,
            throttled_text(ending),
            0 if tally.delivered else standing.retry_count,
            _approval_left(ending.progress, standing),
            is_failing=tally.failed > 0,
        )
        if ending.throttled.silent >= self.circuit.fail_after and not tally.delivered:
            return Fail(failure=replace(failure, is_failing=True), delay=self.retry.slow)
        remaining = ending.throttled.remaining
        return Postpone(failure=failure, delay=remaining, at_least=remaining)

    def _remote_left_alone(
        self, ending: RemoteLeftAlone, standing: Standing, random: Callable[[], float]
    ) -> Postpone | Fail:
        if POLICIES[ending.kind].permanent:
            approval = standing.approval
            return self._tried(ending.kind, ending.error, standing, approval, random, at_least=ending.remaining)
        failure = _failure(ending.kind, ending.error, standing.retry_count, standing.approval)
        failing_for = max(standing.remote_failing_seconds, ending.host_failing_for)
        return self._put_off(failure, ending.remaining, failing_for, random)

    def _endpoint_left_alone(
        self, ending: EndpointLeftAlone, standing: Standing, random: Callable[[], float]
    ) -> Postpone | Fail:
        failure = _failure(
            ErrorKind.ENDPOINT_CIRCUIT_OPEN,
            left_alone_text(ending),
            standing.retry_count,
            _approval_left(ending.progress, standing),
        )
        return self._put_off(failure, ending.circuit.remaining, ending.circuit.for_seconds, random)

    def _put_off(
        self, failure: Failure, remaining: float, for_seconds: float, random: Callable[[], float]
    ) -> Postpone | Fail:
        """Until a circuit's cool-down ends, no try used up; failed where the circuit has been open for too long."""
        if for_seconds >= self.circuit.fail_after:
            return Fail(failure=failure, delay=self.retry.slow)
        return Postpone(failure=failure, delay=_jittered(remaining, random), at_least=remaining)

    def _tried(
        self,
        kind: ErrorKind,
        error: str,
        standing: Standing,
        approval: Approval,
        random: Callable[[], float],
        *,
        at_least: float = 0.0,
        progressed: bool = False,
    ) -> Postpone | Fail:
        """A quick retry or a slow try after a run that failed, in `at_least` seconds or later.

        A run that got something across starts a new streak of tries.
        """
        made = 0 if progressed else standing.retry_count
        retry = self.retry.after_failure(made, kind, random, uses_up_try=not standing.is_news)
        failure = _failure(kind, error, retry.retry_count, approval)
        delay = None if retry.delay is None else max(retry.delay, _jittered(at_least, random))
        if retry.failed:
            return Fail(failure=failure, delay=delay)
        return Postpone(failure=failure, delay=delay or 0.0, at_least=at_least)


def _failure(kind: ErrorKind, error: str, retry_count: int, approval: Approval, *, is_failing: bool = True) -> Failure:
    return Failure(
        is_failing=is_failing,
        kind=kind,
        error=error,
        retry_count=retry_count,
        approved_commit=approval.commit,
        approved_deletes=approval.deletes,
    )


def _has_progressed(progress: Progress | None) -> bool:
    return progress is not None and progress.tally.delivered > 0


def _approval_left(progress: Progress, standing: Standing) -> Approval:
    """An approval of many deletes that was not used up lasts, for this commit, until the run that completes it."""
    if not progress.plan.deletes_too_much:
        return standing.approval
    return Approval(progress.snapshot.commit, progress.plan.deletes)


def _jittered(seconds: float, random: Callable[[], float]) -> float:
    return seconds * (1 + COOLDOWN_JITTER * random())
