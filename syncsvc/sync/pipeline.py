"""A run, top to bottom: claim, refresh the mirror, plan, hold, deliver, settle."""

import time
import traceback
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from syncsvc import wakeup
from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.disk import DISK_ERRORS, disk_error
from syncsvc.git.eviction import fetch_with_room, make_room
from syncsvc.git.mirror import Mirror
from syncsvc.models import Operation, Repository, Snapshot, Subscription, SyncRun
from syncsvc.store.throttles import Throttled
from syncsvc.sync.circuit import EndpointCircuit
from syncsvc.sync.deliver import Delivery
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
from syncsvc.sync.heads import ask_remote, check_fetchable, found, has_other_remote, head_for
from syncsvc.sync.job import Job, mirror_of
from syncsvc.sync.lease import KEEPER, LeaseLostError
from syncsvc.sync.outage import AWAY
from syncsvc.sync.plan import Plan, make_plan
from syncsvc.sync.remote_circuits import (
    GitCircuitOpenError,
    asks_for_quiet,
    enter_host,
    host_failed,
    host_was_not_asked,
    quiet_for,
    remote_answered,
    wait_asked_for,
)
from syncsvc.sync.settle import settle
from syncsvc.sync.settlement_text import OTHER_REMOTE_TEXT, handed_over_text
from syncsvc.sync.snapshots import take_in
from syncsvc.sync.spool import Spool
from syncsvc.sync.spool_room import ROOM
from syncsvc.sync.tally import Stop
from syncsvc.sync.throttle import EndpointThrottle
from syncsvc.sync.turn import PLANS_A_TURN, Turn
from syncsvc.sync.watch import WATCHER, RunEndsError
from syncsvc.types import ErrorKind, RemoteHead

logger = structlog.get_logger(__name__)

# A run that finds the mirror being fetched is due when that fetch ends; at the latest after so many seconds.
AWAIT_FETCH_SECONDS = 30
# A suspect that finds another at work in its process is due again after so many seconds.
AWAIT_SUSPECT_SECONDS = 5
# Commits that a mirror keeps before those that no ledger needs are dropped.
PINS_BEFORE_MAINTENANCE = 50


def _nobody(operation: Operation) -> None:
    """Default callback: does nothing."""


def run_subscription(
    subscription_id: uuid.UUID,
    *,
    worker: str,
    settled: Callable[[Operation], None] = _nobody,
    turn: Turn | None = None,
) -> SyncRun | None:
    """Runs a subscription that is due, to its end. None where it is not due, is paused, or somebody else runs it.

    `settled` is called with the operation whose item this run moved.
    """
    job = Job.claim(subscription_id, worker=worker, turn=turn)
    return run_job(job, settled=settled) if job else None


def run_job(job: Job, *, settled: Callable[[Operation], None] = _nobody) -> SyncRun | None:
    """Runs what has been claimed, to its end. None where it was handed back, or somebody else runs it by now."""
    with KEEPER.keeping(job.lease), WATCHER.watching(job.lease, job.watched):
        try:
            return _settled(job, _work(job), settled)
        except LeaseLostError:
            logger.warning("run.fenced", run=str(job.run_id), subscription=str(job.subscription.id))
            return None


def _settled(job: Job, ending: Ending, settled: Callable[[Operation], None]) -> SyncRun | None:
    """Settles the run. A settlement that cannot be written is a failure of the run."""
    try:
        return settle(job, ending, settled)
    except (LeaseLostError, *AWAY):
        raise
    except Exception as error:
        return settle(job, _crashed(job, error, progress_of(ending)), settled)


def _work(job: Job) -> Ending:
    """Everything between the claim and the settling; no transaction spans it."""
    if job.is_suspect and not job.place.take():
        return HandedBack(delay=AWAIT_SUSPECT_SECONDS)
    try:
        return _work_here(job)
    finally:
        job.place.leave()


def _work_here(job: Job) -> Ending:
    try:
        mirror = mirror_of(job.repository, nice=job.nice, interrupt=job.check)
        head = head_for(job)
        if head.commit is None:
            return _without_commits(job)
        return _bring_up_to_date(job, mirror, head)
    except MirrorBusyError:
        return HandedBack(delay=AWAIT_FETCH_SECONDS, awaits_fetch=True)
    except GitCircuitOpenError as error:
        return RemoteLeftAlone(
            error.kind, str(error), error.retry_after or 0.0, error.failing_for, host_is_quiet=error.host_is_quiet
        )
    except GitError as error:
        return _git_failed(job, error)
    except LeaseLostError:
        raise
    except RunEndsError:
        return _told_to_end(job)
    except AWAY as error:
        # Before the first request: what delivers waits for the database instead.
        logger.warning("database.away", error=type(error).__name__)
        return HandedBack()
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            return _crashed(job, error)
        return Failed(ErrorKind.WORKER_DISK, str(disk_error(error.filename or settings.SPOOL_DIR, str(error.strerror))))
    except Exception as error:
        return _crashed(job, error)


def _told_to_end(job: Job, progress: Progress | None = None) -> Stopped | HandedBack:
    if job.watched.is_stopped:
        return Stopped(progress)
    return HandedBack(progress=progress, reason=OTHER_REMOTE_TEXT if job.watched.has_other_remote else "")


def _crashed(job: Job, error: Exception, progress: Progress | None = None) -> Failed:
    """A bug, or a setting that is wrong: the run fails with its traceback, and keeps its counts."""
    logger.exception("run.crashed", run=str(job.run_id), subscription=str(job.subscription.id))
    text = f"An error in syncsvc itself ({type(error).__name__}); its traceback stands with run {job.run_id}."
    if isinstance(error, ImproperlyConfigured):  # which says what to do
        text = str(error)
    pause = _pause_after(progress, job.turn)
    return Failed(ErrorKind.INTERNAL, text, traceback=traceback.format_exc(), progress=progress, at_least=pause)


def _pause_after(progress: Progress | None, turn: Turn) -> float:
    """Seconds until the next try at least: a large plan that got on is not made again every few seconds."""
    return PLANS_A_TURN * turn.planned_in if progress is not None and progress.tally.delivered else 0.0


def _git_failed(job: Job, error: GitError) -> Ending:
    wait = wait_asked_for(error)
    if wait is None:
        return Failed(error.kind, str(error))
    if not asks_for_quiet(job.repository, error):
        return RemoteLeftAlone(error.kind, str(error), wait)
    return RemoteLeftAlone(error.kind, str(error), wait, quiet_for(job.repository), host_is_quiet=True)


def _bring_up_to_date(job: Job, mirror: Mirror, head: RemoteHead) -> Ending:
    commit = _refresh(job, mirror, head)
    job.turn.reached()
    try:
        with mirror.reading():
            if mirror.has_fetched:
                make_room(settings.MIRROR_DIR, ROOM.for_mirrors)
            ending = _plan_and_deliver(job, mirror, commit)
    except GitError as error:
        if error.kind is not ErrorKind.GIT_CORRUPT or error.at_remote:
            raise
        # Nothing was sent: planning comes before the first request. Once more from a new mirror.
        commit = mirror.heal(head)
        with mirror.reading():
            ending = _plan_and_deliver(job, mirror, commit)
    try:
        if isinstance(ending, Incomplete) and ending.progress.tally.damaged:
            _heal(job, mirror, head)
        _maintain(job, mirror)
    except RunEndsError:
        return ending if isinstance(ending, Synced) else _told_to_end(job, progress_of(ending))
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
    commit = _fetch(job, mirror, head)
    fetched = RemoteHead(head.branch, commit)
    if fetched != head and not found(job.repository, fetched, but_not=job.subscription):
        ask_remote(job.repository, but_not=job.subscription, interrupt=job.check)
    if mirror.has_fetched:
        _wake_those_that_wait_for(job.repository)
    return commit


def _wake_those_that_wait_for(repository: Repository) -> None:
    """A fetch of its mirror has ended."""
    wakeup.wake_runs(Subscription.objects.filter(repository=repository).fetch_ended())


def _fetch(job: Job, mirror: Mirror, head: RemoteHead) -> str:
    """A fetch that fails is the repository's failure: noted there, and told to all that waited for it."""
    check_fetchable(job, head.commit or "")
    repository = job.repository
    if not job.trigger.asked_for:
        enter_host(repository)
    try:
        commit = fetch_with_room(mirror, head, ROOM.for_mirrors)
    except GitError as error:
        if error.kind is ErrorKind.WORKER_DISK:
            raise
        if not has_other_remote(repository):
            wait = wait_asked_for(error)
            Repository.objects.fetch_failed(
                repository.id, commit=head.commit or "", kind=error.kind, error=str(error), wait=wait
            )
            host_failed(repository, error)
        _wake_those_that_wait_for(repository)
        raise
    except (RunEndsError, LeaseLostError):
        host_was_not_asked(repository)
        _wake_those_that_wait_for(repository)  # one of them fetches
        raise
    if mirror.has_fetched:
        remote_answered(repository)
    if repository.fetch_failures:
        Repository.objects.fetched(repository.id)
    return commit


def _plan_and_deliver(job: Job, mirror: Mirror, commit: str) -> Ending:
    if not mirror.has_commit(commit):
        raise MirrorBusyError  # evicted or replaced since it was fetched
    snapshot = take_in(job.repository, mirror, commit)
    began = time.monotonic()
    with Spool(settings.SPOOL_DIR) as spool:
        plan = make_plan(job, mirror, snapshot, spool)
        if plan.deletes_too_much and not _deletes_are_allowed(job, snapshot, plan):
            return Held(Progress(snapshot, plan))
        if not plan.changes:
            return Synced(Progress(snapshot, plan))
        circuit = EndpointCircuit(job.app, job.subscription.id, job.lease)
        if open_circuit := circuit.enter(early=job.single_retry, known=job.is_fresh):
            return EndpointLeftAlone(open_circuit, Progress(snapshot, plan))
        throttle = EndpointThrottle(job.app, job.lease, job.now)
        if throttled := throttle.enter(early=job.single_retry, probing=circuit.probing, known=job.is_fresh):
            circuit.leave()
            return EndpointThrottled(throttled, Progress(snapshot, plan))
        job.turn.sends(job.run_id, commit, time.monotonic() - began)
        delivery = Delivery(job, commit=commit, mirror=mirror, spool=spool, circuit=circuit, throttle=throttle)
        progress = Progress(snapshot, plan, delivery.tally)
        job.place.leave()
        try:
            delivery.deliver()
        except (LeaseLostError, *AWAY):
            raise
        except RunEndsError:
            return _told_to_end(job, progress)
        except GitError as error:
            return Failed(error.kind, str(error), progress=progress, at_least=_pause_after(progress, job.turn))
        except Exception as error:
            return _crashed(job, error, progress)
        return _delivered(job, progress, circuit)


def _delivered(job: Job, progress: Progress, circuit: EndpointCircuit) -> Ending:
    tally, turn = progress.tally, job.turn
    if tally.delivered == progress.plan.changes:
        return Synced(progress)
    if job.watched.is_stopped and tally.stop is not Stop.FAILURE:
        return Stopped(progress)
    match tally.stop:
        case Stop.OTHER_REMOTE:
            return _told_to_end(job, progress)
        case Stop.SHUTDOWN | Stop.PAUSED if not tally.failed:
            return _told_to_end(job, progress)
        case Stop.HANDS_OVER if not tally.failed:
            return HandedBack(progress=progress, reason=handed_over_text(turn.over_because))
        case Stop.THROTTLED if tally.throttled is not None:
            return EndpointThrottled(tally.throttled, progress)
        case Stop.CIRCUIT if tally.kind is None and tally.throttled is not None:
            # It answered 503 and nothing else: no file has failed.
            remaining = max(circuit.remaining(), tally.throttled.remaining)
            return EndpointThrottled(Throttled(remaining, tally.throttled.silent), progress)
        case Stop.CIRCUIT:
            return Incomplete(progress, at_least=max(circuit.remaining(), _pause_after(progress, turn)))
        case _:
            return Incomplete(progress, at_least=_pause_after(progress, turn))


def _deletes_are_allowed(job: Job, snapshot: Snapshot, plan: Plan) -> bool:
    """True where the asker allowed deletes for this run, or an approval covers the commit or as many deletes."""
    subscription = job.subscription
    if job.allow_deletes:
        return True
    approved = subscription.approved_commit
    return bool(approved) and (approved == snapshot.commit or plan.deletes <= subscription.approved_deletes)


def _without_commits(job: Job) -> Ending:
    if job.subscription.delivered_files.exists():
        text = "The remote has no commits any more. Nothing was sent: push a commit, or correct the repository's URL."
        return Failed(ErrorKind.GIT_NOT_FOUND, text)
    return Synced()


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
