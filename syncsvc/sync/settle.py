"""Settling a run: the subscription's next state, the operation's item and the run's record, written together."""

import random
from collections.abc import Callable
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import transaction

from syncsvc.delivery.retry_policy import RetryPolicy
from syncsvc.error_kinds import POLICIES
from syncsvc.models import Operation, Subscription, SyncRun
from syncsvc.store import circuits
from syncsvc.store.complete import complete
from syncsvc.store.operations import cancel_item, fail_items_waiting_for, put_back_item, settle_item_as_failed
from syncsvc.sync.circuit import circuit_policy, pause_gone
from syncsvc.sync.disk import DISK
from syncsvc.sync.ending import Ending, EndpointLeftAlone, EndpointThrottled, Failed, RemoteLeftAlone, progress_of
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.notify import tell_app_of_failure
from syncsvc.sync.outage import through_outage
from syncsvc.sync.run_record import end, record_of
from syncsvc.sync.settlement import (
    Approval,
    Complete,
    Fail,
    HandBack,
    Moved,
    Postpone,
    Settlement,
    SettlementPolicy,
    Standing,
    Stop,
)
from syncsvc.sync.settlement_text import item_reason, still_down_text
from syncsvc.types import ErrorKind

logger = structlog.get_logger(__name__)


class Written(NamedTuple):
    """The run as its record is now, and the operation whose item it moved; None where there is none."""

    run: SyncRun | None
    operation: Operation | None


def settlement_policy() -> SettlementPolicy:
    retry = RetryPolicy(
        delays=settings.RETRY_DELAYS,
        slow=settings.RETRY_SLOW_SECONDS,
        jitter=settings.RETRY_JITTER_PERCENT / 100,
    )
    return SettlementPolicy(retry=retry, circuit=circuit_policy())


def settle(job: Job, ending: Ending, settled: Callable[[Operation], None]) -> SyncRun | None:
    """Writes the ending down; None where the run was handed back before it did anything. LeaseLostError if fenced.

    `settled` is called with the operation whose item this moved, after the commit.
    """
    if isinstance(ending, Failed) and ending.kind is ErrorKind.WORKER_DISK:
        DISK.failed(ending.error)
    settlement = settlement_policy().settlement(ending, _standing(job), random.random)
    match settlement:
        case Complete():
            run, operation = through_outage(job.lease, lambda: _complete(job, ending, settlement))
        case _:
            run, operation = through_outage(job.lease, lambda: _write(job, ending, settlement))
    if operation is not None:
        settled(operation)
    for waiting in _whose_wait_has_ended(job, ending, settlement):
        settled(waiting)
    if run is not None:
        _log(job, run)
        if isinstance(settlement, Fail):
            tell_app_of_failure(job, run, settlement.failure, delay=settlement.delay)
    return run


def _standing(job: Job) -> Standing:
    subscription = job.subscription
    failing_since = job.repository.failing_since or job.started_at
    return Standing(
        name=str(subscription),
        retry_count=subscription.retry_count,
        is_news=job.trigger.is_news,
        approval=Approval(subscription.approved_commit, subscription.approved_deletes),
        remote_failing_seconds=(job.started_at - failing_since).total_seconds(),
    )


def _complete(job: Job, ending: Ending, settlement: Complete) -> Written:
    """One statement for all: most runs end so."""
    completed = complete(
        job.subscription.id,
        token=job.lease.token,
        snapshot_id=settlement.snapshot_id,
        epoch=job.epoch,
        run_id=job.run_id,
        head_moved_at=job.head_moved_at,
        record=record_of(job, ending),
    )
    if completed is None:
        raise LeaseLostError
    return Written(completed.run, completed.operation)


def _whose_wait_has_ended(job: Job, ending: Ending, settlement: Settlement) -> list[Operation]:
    """Operations with items that waited for this run's probe, or for the end of a throttle, and have their answer."""
    if isinstance(ending, EndpointThrottled) and isinstance(settlement, Fail):
        of_app, slow = Subscription.objects.filter(app=job.app), settlement.delay
        through_outage(job.lease, lambda: of_app.give_up_on_throttled(slow))
        kind = ErrorKind.ENDPOINT_THROTTLED
    elif _probe_failed(job, ending):
        kind = ErrorKind.ENDPOINT_CIRCUIT_OPEN
    else:
        return []
    reason = still_down_text(settlement.delay if isinstance(settlement, Postpone | Fail) else None)
    return through_outage(job.lease, lambda: fail_items_waiting_for(job.app.id, reason=reason, error_kind=kind))


def _probe_failed(job: Job, ending: Ending) -> bool:
    """True where this run's probe failed, or another run's has since this run's item was released."""
    if isinstance(ending, EndpointLeftAlone):
        at = job.released_at
        return at is not None and through_outage(job.lease, lambda: circuits.probe_has_failed_since(job.app.id, at))
    progress = progress_of(ending)
    return progress is not None and progress.tally.probe_failed


def _write(job: Job, ending: Ending, settlement: Moved) -> Written:
    with transaction.atomic():
        # First, as everywhere: the operation's row is locked before the subscription's.
        operation = _move_item(job, ending, settlement) if job.in_bulk else None
        if not _move_subscription(job, settlement):
            raise LeaseLostError
        if isinstance(settlement, Postpone | Fail) and POLICIES[settlement.failure.kind].pauses_app:
            pause_gone(job.app)
        return Written(end(job, ending, settlement), operation)


def _move_subscription(job: Job, settlement: Moved) -> bool:
    """Says whether the lease was still ours."""
    subscriptions, id, token = Subscription.objects, job.subscription.id, job.lease.token
    match settlement:
        case Postpone(failure=failure, delay=delay, at_least=at_least):
            return subscriptions.postpone(id, token=token, failure=failure, delay=delay, at_least=at_least)
        case Fail(failure=failure, delay=slow):
            return subscriptions.fail(id, token=token, failure=failure, delay=slow)
        case HandBack(delay=delay, awaits_fetch=awaits_fetch):
            return subscriptions.hand_back(id, token=token, delay=delay, awaits_fetch=awaits_fetch)
        case Stop(delay=delay, error=error):
            return subscriptions.stop(id, token=token, error=error, delay=delay)


def _move_item(job: Job, ending: Ending, settlement: Moved) -> Operation | None:
    """The operation of the item that this run was for; None where somebody else has moved it."""
    progress = progress_of(ending)
    files = progress.tally.delivered if progress else 0
    if isinstance(settlement, HandBack):
        return put_back_item(job.run_id, released=True, files=files)
    if isinstance(settlement, Stop):
        return cancel_item(job.run_id, reason=settlement.error, files=files)
    if isinstance(settlement, Postpone) and settlement.failure.kind is ErrorKind.WORKER_DISK:
        return put_back_item(job.run_id, released=True, files=files)
    if _waits(ending) and isinstance(settlement, Postpone):
        return put_back_item(job.run_id, released=False, files=files)
    return settle_item_as_failed(
        job.run_id,
        reason=item_reason(settlement.failure.error, settlement.delay),
        error_kind=settlement.failure.kind,
        files=files,
    )


def _waits(ending: Ending) -> bool:
    """Its item waits until the endpoint or the remote's host takes requests again: release passes over it."""
    if isinstance(ending, RemoteLeftAlone):
        return ending.host_is_quiet
    return isinstance(ending, EndpointLeftAlone | EndpointThrottled)


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
