"""Settling a run: the subscription's next state and the run's record, in one transaction."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from syncsvc.delivery.retry_policy import RetryPolicy
from syncsvc.error_kinds import POLICIES
from syncsvc.models import Operation, Subscription, SyncRun
from syncsvc.models.transitions import Failure
from syncsvc.sync.circuit import pause_gone
from syncsvc.sync.deliver import Tally
from syncsvc.sync.ending import Ending, Failed, HandedBack, Held, Incomplete, Synced, Waits
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.notify import tell_app_of_failure
from syncsvc.sync.outage import through_outage
from syncsvc.sync.plan import Plan
from syncsvc.types import ChangeKind, ErrorKind

logger = structlog.get_logger(__name__)

# The end of a cool-down is not the moment for everyone at once.
COOLDOWN_JITTER = 0.1


def retry_policy() -> RetryPolicy:
    return RetryPolicy(
        delays=settings.RETRY_DELAYS,
        slow=settings.RETRY_SLOW_SECONDS,
        retry_after_max=settings.RETRY_AFTER_MAX_SECONDS,
        jitter=settings.RETRY_JITTER_PERCENT / 100,
    )


def settle(job: Job, ending: Ending, settled: Callable[[Operation], None]) -> SyncRun | None:
    """Writes the ending down; None where the run was handed back before it did anything. LeaseLostError if fenced.

    `settled` is told of the operation whose item this moved, after the commit.
    """
    if isinstance(ending, Synced):
        return _complete(job, ending, settled)
    match ending:
        case HandedBack():
            verdict = _handed_back(ending)
        case Held():
            verdict = _failed(job, ErrorKind.MASS_DELETE_HELD, _held_text(job, ending), outcome=SyncRun.Outcome.HELD)
        case Failed() if ending.at_least and not POLICIES[ending.kind].permanent:
            verdict = _waits_for_remote(job, ending)
        case Failed():
            verdict = _failed(job, ending.kind, ending.error, at_least=ending.at_least, traceback=ending.traceback)
        case Waits():
            verdict = _waits(job, ending)
        case Incomplete():
            verdict = _incomplete(job, ending)
    run, operation = through_outage(job.lease, lambda: _write(job, ending, verdict))
    if operation is not None:
        settled(operation)
    if run is not None:
        _log(job, run)
        if verdict.failure is not None and verdict.verb == "fail":
            tell_app_of_failure(job, run, verdict.failure, delay=verdict.values["delay"])
    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verb that moves the subscription, its arguments, and what the run's record says."""

    verb: str
    values: dict[str, Any]
    outcome: str
    failure: Failure | None = None
    traceback: str = ""


def _complete(job: Job, ending: Synced, settled: Callable[[Operation], None]) -> SyncRun | None:
    completed = through_outage(
        job.lease,
        lambda: Subscription.objects.complete(
            job.subscription.id,
            token=job.lease.token,
            snapshot_id=ending.snapshot.id if ending.snapshot else None,
            epoch=job.epoch,
            run_id=job.run_id,
            head_moved_at=job.head_moved_at,
            **_counts(job, ending),
        ),
    )
    if completed is None:
        raise LeaseLostError
    if completed.operation is not None:
        settled(completed.operation)
    if completed.run is not None:
        _log(job, completed.run)
    return completed.run


def _handed_back(ending: HandedBack) -> Verdict:
    values = {"delay": ending.delay, "awaits_fetch": ending.awaits_fetch}
    return Verdict(verb="hand_back", values=values, outcome=SyncRun.Outcome.INTERRUPTED)


def _incomplete(job: Job, ending: Incomplete) -> Verdict:
    tally = ending.tally
    kind = tally.kind or ErrorKind.INTERNAL
    retry_after = tally.retry_after if POLICIES[kind].honours_retry_after else None
    at_least = max(ending.at_least, min(retry_after or 0.0, settings.RETRY_AFTER_MAX_SECONDS))
    approval = _approval(job, ending.plan, ending.snapshot.commit)
    text = _incomplete_text(tally, len(ending.spool))
    return _failed(job, kind, text, at_least=at_least, retry_after=retry_after, **approval)


def _waits(job: Job, ending: Waits) -> Verdict:
    circuit, waiting = ending.circuit, len(ending.spool)
    text = (
        f"The endpoint has not answered well for {_minutes(circuit.for_seconds)} and is left alone until its"
        f" cool-down ends; {_changes(waiting)} wait{'s' if waiting == 1 else ''}. A retry tries it at once."
    )
    failure = Failure(
        kind=ErrorKind.ENDPOINT_CIRCUIT_OPEN,
        error=text,
        retry_count=job.subscription.retry_count,
        **_approval(job, ending.plan, ending.snapshot.commit),
    )
    return _put_off(failure, remaining=circuit.remaining, for_seconds=circuit.for_seconds)


def _waits_for_remote(job: Job, ending: Failed) -> Verdict:
    """The same for a remote that is left alone: git was not asked, so no try is used up."""
    retry_count = job.subscription.retry_count
    failure = Failure(kind=ending.kind, error=ending.error, retry_count=retry_count, **_unused_approval(job))
    since = job.repository.failing_since or job.started_at
    return _put_off(failure, remaining=ending.at_least, for_seconds=(job.started_at - since).total_seconds())


def _put_off(failure: Failure, *, remaining: float, for_seconds: float) -> Verdict:
    """Until a circuit's cool-down ends; as failed where that has gone on for too long."""
    if for_seconds >= settings.CIRCUIT_FAIL_AFTER_SECONDS:
        values: dict[str, Any] = {"failure": failure, "delay": settings.RETRY_SLOW_SECONDS}
        return Verdict(verb="fail", values=values, outcome=SyncRun.Outcome.FAILED, failure=failure)
    values = {"failure": failure, "delay": _jittered(remaining), "at_least": remaining}
    return Verdict(verb="postpone", values=values, outcome=SyncRun.Outcome.POSTPONED, failure=failure)


def _failed(
    job: Job,
    kind: ErrorKind,
    error: str,
    *,
    at_least: float = 0.0,
    retry_after: float | None = None,
    outcome: str = "",
    traceback: str = "",
    **approval: Any,
) -> Verdict:
    # What was approved and never came to be sent is still approved; what was held again is not.
    if not approval and kind is not ErrorKind.MASS_DELETE_HELD:
        approval = _unused_approval(job)
    retry = retry_policy().after_failure(job.subscription.retry_count, kind, retry_after, random.random)
    failure = Failure(kind=kind, error=error, retry_count=retry.retry_count, **approval)
    delay = None if retry.delay is None else max(retry.delay, _jittered(at_least))
    if retry.failed:
        values: dict[str, Any] = {"failure": failure, "delay": delay}
        outcome = outcome or SyncRun.Outcome.FAILED
        return Verdict(verb="fail", values=values, outcome=outcome, failure=failure, traceback=traceback)
    values = {"failure": failure, "delay": delay or 0.0, "at_least": at_least}
    outcome = SyncRun.Outcome.POSTPONED
    return Verdict(verb="postpone", values=values, outcome=outcome, failure=failure, traceback=traceback)


def _write(job: Job, ending: Ending, verdict: Verdict) -> tuple[SyncRun | None, Operation | None]:
    with transaction.atomic():
        # First, as everywhere: the operation's row is locked before the subscription's.
        operation = _settle_item(job, ending, verdict)
        verb = getattr(Subscription.objects, verdict.verb)
        if not verb(job.subscription.id, token=job.lease.token, **verdict.values):
            raise LeaseLostError
        if verdict.failure is not None and POLICIES[verdict.failure.kind].pauses_app:
            pause_gone(job.app)
        run = SyncRun.objects.filter(id=job.run_id)
        if isinstance(ending, HandedBack) and not ending.tally.requests:
            run.delete()
            return None, operation
        return SyncRun.objects.end(job.run_id, outcome=verdict.outcome, **_record(job, ending, verdict)), operation


def _settle_item(job: Job, ending: Ending, verdict: Verdict) -> Operation | None:
    """Moves the operation's item that this run was for, if there is one; the operation's id."""
    operations = Operation.objects
    if not job.in_bulk:
        return None
    if isinstance(ending, HandedBack):
        return operations.put_back_item(job.run_id, released=True)
    if isinstance(ending, Waits):
        return operations.put_back_item(job.run_id, released=False)
    tally: Tally = getattr(ending, "tally", None) or Tally()
    assert verdict.failure is not None  # noqa: S101 - for the type: what is not handed back has failed
    return operations.settle_item(
        job.run_id,
        status="failed",
        reason=_item_reason(verdict.failure, verdict),
        error_kind=verdict.failure.kind,
        files=tally.delivered,
    )


def _item_reason(failure: Failure, verdict: Verdict) -> str:
    delay = verdict.values["delay"]
    stop = "" if failure.error.endswith(".") else "."
    again = "" if delay is None else f"{stop} Tries again by itself in {_wait_of(delay)}."
    return f"{failure.error[: 500 - len(again)]}{again}"


def _record(job: Job, ending: Ending, verdict: Verdict) -> dict[str, Any]:
    tally: Tally = getattr(ending, "tally", None) or Tally()
    record = {**_counts(job, ending), "failed": tally.failed, "traceback": verdict.traceback}
    if isinstance(ending, Held):
        record["deleted"] = ending.plan.deletes
    if verdict.failure is not None:
        record |= {"error_kind": verdict.failure.kind, "error": verdict.failure.error}
    return record


def _counts(job: Job, ending: Ending) -> dict[str, Any]:
    """From where to where, what was planned and what was delivered."""
    snapshot, clean = getattr(ending, "snapshot", None), job.subscription.clean_snapshot
    spool = getattr(ending, "spool", None)
    tally: Tally = getattr(ending, "tally", None) or Tally()
    return {
        "from_commit": clean.commit if clean else "",
        "to_commit": snapshot.commit if snapshot else "",
        **({kind.value: spool.counts[kind] for kind in ChangeKind} if spool is not None else {}),
        "delivered": tally.delivered,
        "requests": tally.requests,
        "bytes": tally.content_bytes,
    }


def _approval(job: Job, plan: Plan, commit: str) -> dict[str, Any]:
    """An allowance of many deletes that was not used up lasts, for this commit, until the run that completes it."""
    if not plan.deletes_too_much:
        return _unused_approval(job)
    return {"approved_commit": commit, "approved_deletes": plan.deletes}


def _unused_approval(job: Job) -> dict[str, Any]:
    subscription = job.subscription
    return {"approved_commit": subscription.approved_commit, "approved_deletes": subscription.approved_deletes}


def _held_text(job: Job, ending: Held) -> str:
    return (
        f"Held: {ending.plan.deletes} of {ending.plan.known} files would be deleted at commit"
        f" {ending.snapshot.commit[:12]}. Nothing was sent. If that is right: manage.py sync {job.subscription}"
        " --allow-deletes"
    )


def _incomplete_text(tally: Tally, planned: int) -> str:
    missing = planned - tally.delivered
    where = f" First: {tally.path.decode(errors='backslashreplace')[:200]}" if tally.path is not None else ""
    were = "was" if missing == 1 else "were"
    return f"{missing:,} of {_changes(planned)} {were} not taken. {tally.error}{where}"


def _changes(number: int) -> str:
    return f"{number:,} change{'' if number == 1 else 's'}"


def _minutes(seconds: float) -> str:
    return "under a minute" if seconds < 60 else f"{seconds / 60:.0f} min"


def _wait_of(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _jittered(seconds: float) -> float:
    return seconds * (1 + COOLDOWN_JITTER * random.random())  # noqa: S311 - no secret


def _log(job: Job, run: SyncRun) -> None:
    logger.info(
        "run.ended",
        run=str(run.id),
        subscription=str(job.subscription.id),
        app=job.app.name,
        repository=job.repository.name,
        trigger=run.trigger,
        outcome=run.outcome,
        commit=run.to_commit,
        created=run.created,
        updated=run.updated,
        deleted=run.deleted,
        delivered=run.delivered,
        failed=run.failed,
        requests=run.requests,
        bytes=run.bytes,
        seconds=run.seconds,
        error_kind=run.error_kind,
    )
