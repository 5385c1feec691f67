"""Settling a run: the subscription's next state, the operation's item and the run's record, written together."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import transaction

from syncsvc.delivery.retry_policy import RetryPolicy
from syncsvc.error_kinds import POLICIES, Fault
from syncsvc.models import App, Operation, Subscription, SyncRun
from syncsvc.store import circuits
from syncsvc.store.complete import complete
from syncsvc.store.moves import note_old_url
from syncsvc.store.operations import (
    cancel_item,
    fail_items_waiting_for,
    fail_items_waiting_for_host,
    lock_operations_waiting_for,
    put_back_item,
    settle_item_as_failed,
)
from syncsvc.sync.circuit import circuit_policy, pause_gone
from syncsvc.sync.disk import DISK
from syncsvc.sync.ending import (
    Ending,
    EndpointLeftAlone,
    EndpointThrottled,
    Failed,
    HandedBack,
    RemoteLeftAlone,
    progress_of,
)
from syncsvc.sync.heads import has_other_remote
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
from syncsvc.sync.settlement_text import ANOTHER_BY_NOW_TEXT, gave_up_text, item_reason, quiet_text
from syncsvc.types import ErrorKind

logger = structlog.get_logger(__name__)


class _PastFailureError(Exception):
    """The run's failure is that of a URL or a remote that has been changed."""


class Written(NamedTuple):
    """The run as its record is now; the operation whose item it moved, and those whose waiting items it failed."""

    run: SyncRun | None
    operations: Sequence[Operation] = ()


def settlement_policy() -> SettlementPolicy:
    retry = RetryPolicy(
        delays=settings.RETRY_DELAYS,
        slow=settings.RETRY_SLOW_SECONDS,
        jitter=settings.RETRY_JITTER_PERCENT / 100,
    )
    return SettlementPolicy(retry=retry, circuit=circuit_policy())


def settle(job: Job, ending: Ending, settled: Callable[[Operation], None]) -> SyncRun | None:
    """Writes the ending down; None where the run was handed back before it did anything. LeaseLostError if fenced.

    `settled` is called with each operation of which this moved an item, after the commit.
    """
    if isinstance(ending, Failed) and ending.kind is ErrorKind.WORKER_DISK:
        DISK.failed(ending.error)
    settlement = _settlement(job, ending)
    try:
        run, operations = _written(job, ending, settlement)
    except _PastFailureError:
        ending = HandedBack(progress=progress_of(ending), reason=ANOTHER_BY_NOW_TEXT)
        settlement = _settlement(job, ending)
        run, operations = _written(job, ending, settlement)
    for operation in (*operations, *_given_up_with_host(job, ending, settlement)):
        settled(operation)
    if run is not None:
        _log(job, run)
        if isinstance(settlement, Fail):
            tell_app_of_failure(job, run, settlement.failure, delay=settlement.delay)
    return run


def _settlement(job: Job, ending: Ending) -> Settlement:
    return settlement_policy().settlement(ending, _standing(job), random.random)


def _written(job: Job, ending: Ending, settlement: Settlement) -> Written:
    if isinstance(settlement, Complete):
        return through_outage(job.lease, lambda: _complete(job, ending, settlement))
    written = through_outage(job.lease, lambda: _write(job, ending, settlement))
    through_outage(job.lease, lambda: _note_what_another_url_has(job, ending))
    return written


def _is_about_the_past(job: Job, ending: Ending, settlement: Moved) -> bool:
    """The app has another URL by now, or the repository another remote: a failure of the old one is none of the new.

    Asked while the subscription is locked: a change of the URL that has it locked first is seen here, and a later one
    makes due what it finds failed.
    """
    if not isinstance(settlement, Postpone | Fail):
        return False
    match POLICIES[settlement.failure.kind].fault:
        case Fault.REMOTE:
            return has_other_remote(job.repository)
        case Fault.ENDPOINT:
            return _has_moved(job.app, _url_of(job, ending))
        case _:
            return False


def _url_of(job: Job, ending: Ending) -> str:
    """The endpoint that the run has met: the app's URL may have been changed in the middle of the run."""
    progress = progress_of(ending)
    return (progress.tally.url if progress else "") or job.app.url


def _note_what_another_url_has(job: Job, ending: Ending) -> None:
    """As `complete` does, for a run that ended otherwise. A move that is committed later counts the ledger itself."""
    url = _url_that_took_files(ending)
    if url and _has_moved(job.app, url):
        note_old_url(job.subscription.id)


def _url_that_took_files(ending: Ending) -> str:
    """Blank where none did."""
    progress = progress_of(ending)
    return progress.tally.url if progress is not None and progress.tally.delivered else ""


def _has_moved(app: App, url: str) -> bool:
    return App.objects.filter(id=app.id).exclude(url=url).exists()


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
        selection=progress.plan.selection if (progress := progress_of(ending)) else "",
        run_id=job.run_id,
        head_moved_at=job.head_moved_at,
        url=_url_that_took_files(ending),
        record=record_of(job, ending),
    )
    if completed is None:
        raise LeaseLostError
    return Written(completed.run, [completed.operation] if completed.operation else ())


def _gives_up(job: Job, ending: Ending, settlement: Moved) -> ErrorKind | None:
    """The kind by which all that waits for the app's endpoint fails: a probe failed, or a throttle lasted too long."""
    if isinstance(ending, EndpointThrottled) and isinstance(settlement, Fail):
        return ErrorKind.ENDPOINT_THROTTLED
    return ErrorKind.ENDPOINT_CIRCUIT_OPEN if _probe_failed(job, ending) else None


def _probe_failed(job: Job, ending: Ending) -> bool:
    """True where this run's probe failed, or another run's has since this run's item was released."""
    if isinstance(ending, EndpointLeftAlone):
        return job.released_at is not None and circuits.probe_has_failed_since(job.app.id, job.released_at)
    progress = progress_of(ending)
    # Another URL has a circuit of its own.
    return progress is not None and progress.tally.probe_failed and not _has_moved(job.app, _url_of(job, ending))


def _given_up_with_host(job: Job, ending: Ending, settlement: Settlement) -> list[Operation]:
    """Fails what waits for a host that has asked to be left alone for too long; the operations that this moved.

    After the run's end: it concerns other apps, whose subscriptions this run's transaction must not wait for.
    """
    if not (isinstance(ending, RemoteLeftAlone) and ending.host_is_quiet and isinstance(settlement, Fail)):
        return []
    kind, reason, host = ending.kind, quiet_text(job.repository.host), job.repository.host
    return through_outage(job.lease, lambda: fail_items_waiting_for_host(host, reason=reason, error_kind=kind))


def _write(job: Job, ending: Ending, settlement: Moved) -> Written:
    given_up = _gives_up(job, ending, settlement)
    if given_up is None:
        with transaction.atomic():
            operation = _move(job, ending, settlement)
            return Written(end(job, ending, settlement), [operation] if operation else ())
    of_app = Subscription.objects.filter(app=job.app)
    with transaction.atomic():
        # Before anything is moved, as whatever locks several does: operations, then subscriptions.
        waiting = lock_operations_waiting_for(job.app.id, run_id=job.run_id)
        if waiting or given_up is ErrorKind.ENDPOINT_THROTTLED:  # else nothing is moved but this run's subscription
            of_app.in_order()
        operation = _move(job, ending, settlement)
        if given_up is ErrorKind.ENDPOINT_THROTTLED and isinstance(settlement, Fail):
            of_app.give_up_on_throttled(settlement.delay)
        failed = fail_items_waiting_for(job.app.id, waiting, reason=gave_up_text(given_up), error_kind=given_up)
        moved = {known.id: known for known in ([operation] if operation else []) + failed}
        return Written(end(job, ending, settlement), list(moved.values()))


def _move(job: Job, ending: Ending, settlement: Moved) -> Operation | None:
    """Moves the operation's item, whose operation is locked first, then the subscription."""
    operation = _move_item(job, ending, settlement) if job.in_bulk else None
    if not _move_subscription(job, settlement):
        raise LeaseLostError
    if _is_about_the_past(job, ending, settlement):
        raise _PastFailureError
    _follow(job, ending, settlement)
    return operation


def _follow(job: Job, ending: Ending, settlement: Moved) -> None:
    """Writes the consequences of a move: progress ends the streak of tries, and an app that is gone is paused."""
    match settlement:
        case Postpone() | Fail() if POLICIES[settlement.failure.kind].pauses_app:
            pause_gone(job.app.id, url=_url_of(job, ending))
        case HandBack() | Stop() if settlement.progressed:
            Subscription.objects.filter(id=job.subscription.id).update(retry_count=0)


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
