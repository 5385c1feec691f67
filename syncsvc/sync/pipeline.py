"""A run, top to bottom: claim, refresh the mirror, plan, hold, deliver, settle."""

import traceback
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings

from syncsvc import wakeup
from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.eviction import evict, fetch_with_room
from syncsvc.git.mirror import Mirror
from syncsvc.models import Operation, Snapshot, Subscription, SyncRun
from syncsvc.sync.circuit import EndpointCircuit
from syncsvc.sync.deliver import Delivery, Stop, Tally
from syncsvc.sync.ending import Ending, Failed, HandedBack, Held, Incomplete, Synced, Waits
from syncsvc.sync.heads import ask_remote, found, head_for
from syncsvc.sync.job import Job, mirror_of
from syncsvc.sync.lease import KEEPER, LeaseLostError
from syncsvc.sync.outage import AWAY
from syncsvc.sync.plan import Plan, make_plan
from syncsvc.sync.settle import settle
from syncsvc.sync.snapshots import take_in
from syncsvc.sync.spool import Spool
from syncsvc.types import ErrorKind, RemoteHead

logger = structlog.get_logger(__name__)

# A run that finds the mirror being fetched is due when that fetch ends; at the latest after so many seconds.
AWAIT_FETCH_SECONDS = 30
# Commits that a mirror keeps before those that no ledger needs are dropped.
PINS_BEFORE_MAINTENANCE = 50


def _nobody(operation: Operation) -> None:
    """Whom a settled item is told to where nobody asks."""


def run_subscription(
    subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None] = _nobody
) -> SyncRun | None:
    """Runs a subscription that is due, to its end. None where it is not due, is paused, or somebody else runs it.

    `settled` is called with the operation whose item this run moved.
    """
    job = Job.claim(subscription_id, worker=worker)
    return run_job(job, settled=settled) if job else None


def run_job(job: Job, *, settled: Callable[[Operation], None] = _nobody) -> SyncRun | None:
    """Runs what has been claimed, to its end. None where it was handed back, or somebody else runs it by now."""
    with KEEPER.keeping(job.lease):
        try:
            return settle(job, _work(job), settled)
        except LeaseLostError:
            logger.warning("run.fenced", run=str(job.run_id), subscription=str(job.subscription.id))
            return None


def _work(job: Job) -> Ending:
    """Everything between the claim and the settling; no transaction spans it."""
    mirror = mirror_of(job.repository, in_bulk=job.in_bulk)
    try:
        head = head_for(job)
        if head.commit is None:
            return _without_commits(job)
        return _bring_up_to_date(job, mirror, head)
    except MirrorBusyError:
        return HandedBack(delay=AWAIT_FETCH_SECONDS, awaits_fetch=True)
    except GitError as error:
        return Failed(error.kind, str(error), at_least=_waits(error))
    except LeaseLostError:
        raise
    except AWAY as error:
        # Before the first request: what delivers waits for the database instead.
        logger.warning("database.away", error=type(error).__name__)
        return HandedBack()
    except Exception as error:
        logger.exception("run.crashed", run=str(job.run_id), subscription=str(job.subscription.id))
        text = f"An error in syncsvc itself ({type(error).__name__}); its traceback stands with run {job.run_id}."
        return Failed(ErrorKind.INTERNAL, text, traceback=traceback.format_exc())


def _waits(error: GitError) -> float:
    """Seconds for which the remote is left alone: it asked for that, or it failed too often."""
    return min(error.retry_after or 0.0, max(settings.RETRY_AFTER_MAX_SECONDS, settings.GIT_CIRCUIT_COOLDOWN_SECONDS))


def _bring_up_to_date(job: Job, mirror: Mirror, head: RemoteHead) -> Ending:
    commit = _refresh(job, mirror, head)
    try:
        with mirror.reading():
            if mirror.has_fetched:
                evict(settings.MIRROR_DIR, settings.MIRROR_MAX_BYTES)
            ending = _plan_and_deliver(job, mirror, commit)
    except GitError as error:
        if error.kind is not ErrorKind.GIT_CORRUPT or error.at_remote:
            raise
        # Nothing was sent: planning comes before the first request. Once more from a new mirror.
        commit = mirror.heal(head)
        with mirror.reading():
            ending = _plan_and_deliver(job, mirror, commit)
    if isinstance(ending, Incomplete) and ending.tally.damaged:
        _heal(job, mirror, head)
    _maintain(job, mirror)
    return ending


def _heal(job: Job, mirror: Mirror, head: RemoteHead) -> None:
    """Has the next run find a sound mirror; where that is not possible now, the next run will ask for it again."""
    try:
        mirror.heal(head)
    except (GitError, MirrorBusyError) as error:
        logger.warning("mirror.healing_failed", repository=job.repository.name, error=str(error))


def _refresh(job: Job, mirror: Mirror, head: RemoteHead) -> str:
    """Has the branch's commit in the mirror; what was fetched may be newer than what the remote said before."""
    if head.commit and mirror.has_commit(head.commit):
        return head.commit
    commit = fetch_with_room(mirror, head, settings.MIRROR_MAX_BYTES)
    fetched = RemoteHead(head.branch, commit)
    if fetched != head and not found(job.repository, fetched, but_not=job.subscription):
        ask_remote(job.repository, but_not=job.subscription)
    if mirror.has_fetched:
        wakeup.wake_runs(Subscription.objects.filter(repository=job.repository).fetch_ended())
    return commit


def _plan_and_deliver(job: Job, mirror: Mirror, commit: str) -> Ending:
    if not mirror.has_commit(commit):
        raise MirrorBusyError  # evicted or replaced since it was fetched
    snapshot = take_in(job.repository, mirror, commit)
    with Spool(settings.SPOOL_DIR) as spool:
        plan = make_plan(job, mirror, snapshot, spool)
        if plan.deletes_too_much and not _deletes_are_allowed(job, snapshot, plan):
            return Held(snapshot, plan)
        if not len(spool):
            return Synced(snapshot, spool, Tally())
        circuit = EndpointCircuit(job.app, job.lease)
        if open_circuit := circuit.enter(early=job.single_retry, known=job.is_fresh):
            return Waits(open_circuit, snapshot, plan, spool)
        tally = Delivery(job, commit=commit, mirror=mirror, spool=spool, circuit=circuit).deliver()
        if tally.delivered == len(spool):
            return Synced(snapshot, spool, tally)
        if tally.stop is Stop.SHUTDOWN and not tally.failed:
            return HandedBack(snapshot=snapshot, spool=spool, tally=tally)
        cooldown = circuit.remaining() if tally.stop is Stop.CIRCUIT else 0.0
        return Incomplete(snapshot, plan, spool, tally, at_least=cooldown)


def _deletes_are_allowed(job: Job, snapshot: Snapshot, plan: Plan) -> bool:
    """By whoever asked for this run; or by an approval, of this commit or of no fewer deletes than these."""
    subscription = job.subscription
    if job.allow_deletes:
        return True
    approved = subscription.approved_commit
    return bool(approved) and (approved == snapshot.commit or plan.deletes <= subscription.approved_deletes)


def _without_commits(job: Job) -> Ending:
    if job.subscription.delivered_files.exists():
        text = "The remote has no commits any more. Nothing was sent: push a commit, or correct the repository's URL."
        return Failed(ErrorKind.GIT_NOT_FOUND, text)
    return Synced(None, None, Tally())


def _maintain(job: Job, mirror: Mirror) -> None:
    if mirror.pins() <= PINS_BEFORE_MAINTENANCE:
        return
    clean = Subscription.objects.filter(repository=job.repository, clean_snapshot__isnull=False)
    latest = Snapshot.objects.filter(repository=job.repository).values_list("commit", flat=True)[:2]
    try:
        mirror.maintain({*clean.values_list("clean_snapshot__commit", flat=True), *latest})
    except GitError as error:
        logger.warning("mirror.maintenance_failed", repository=job.repository.name, error=str(error))
    except AWAY as error:
        logger.warning("database.away", error=type(error).__name__)
