"""Sharing out this worker's slots: live work goes before bulk work, and no app has all of them while others wait."""

import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Q

from syncsvc import wakeup
from syncsvc.models import Operation, Subscription, SyncRun
from syncsvc.models.subscription import DOUBTFUL, SubscriptionQuerySet
from syncsvc.stopping import STOPPING
from syncsvc.store.claim import Share, share_of
from syncsvc.sync.disk import DISK
from syncsvc.sync.job import Job
from syncsvc.sync.lease import Lease
from syncsvc.sync.live_first import let_live_runs_pass, live_run
from syncsvc.sync.outage import AWAY, through_outage
from syncsvc.sync.overseer import Overseer
from syncsvc.sync.pipeline import run_job, run_subscription
from syncsvc.sync.rooms import Admission, Rooms, ShutOut
from syncsvc.sync.turn import Turn, TurnPolicy, Work

logger = structlog.get_logger(__name__)

# Of those that are due for the longest.
LEFT_CHOICE = 64


class Slots:
    """Lets runs into this process's rooms of slots, and takes the next one when a slot gets free.

    A run that finds no place is left in the database for the next free slot. Slots of bulk work, at most half of all,
    take one released item after the other until none is left. Nothing is claimed while this worker's disk takes no
    writes.
    """

    def __init__(self, rooms: Rooms | None = None, *, policy: TurnPolicy | None = None) -> None:
        self.rooms = rooms or Rooms()
        # A wake-up for released items came while bulk work had its half: a slot that ends looks again.
        self._knocked = False
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        # A run found no place: the next slot that gets free looks for it. Doubtful ones find fewer places.
        self._left, self._left_doubtful = threading.Event(), threading.Event()
        self._overseer = Overseer(
            self.rooms,
            when_moved=self._go_on_behind,
            somebody_was_left=self._somebody_was_left,
            policy=policy or TurnPolicy(),
        )

    def run(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None]) -> None:
        """Runs the subscription if it finds a place; then, one after the other, runs that found none before."""
        self._run_one(subscription_id, worker=worker, settled=settled)
        while not STOPPING.is_set() and DISK.is_well() and (taken := self._take_left()):
            if not self._run_one(taken[0].id, worker=worker, settled=settled):
                return  # a slot that is in use will come by here when it is free

    def run_released(self, *, worker: str, settled: Callable[[Operation], None]) -> None:
        """Runs what operations have released until nothing is left, or does nothing where bulk work has its half."""
        turn = Turn(Work(in_bulk=True))
        with self._lock:
            if not self.rooms.enter_bulk(turn):
                self._knocked = True
                return
        self._overseer.attend()
        try:
            self._run_what_is_released(turn, worker, settled)
        finally:
            self.rooms.leave(turn)

    @contextmanager
    def other_work(self) -> Iterator[None]:
        """A slot for work that is no run; long work moves to the long room as runs do."""
        turn = Turn()
        self.rooms.enter_other(turn)
        self._overseer.attend()
        try:
            yield
        finally:
            self.rooms.leave(turn)

    def _run_what_is_released(self, turn: Turn, worker: str, settled: Callable[[Operation], None]) -> None:
        """Runs released items in a slot of bulk work until none is left."""
        last: Job | None = None
        while True:
            job = self._claim_released(turn, worker)
            if job is None:
                if not self._nothing_left(turn):
                    continue
                if last is not None and STOPPING.is_set():  # another worker goes on
                    wakeup.wake_for_released([last.repository.id])
                return
            try:
                if last is None:  # there may be more of it, and more slots for it
                    wakeup.wake_for_released([job.repository.id])
                run_job(job, settled=settled)
            except AWAY as error:  # it has ended: that is written through an outage, but not what it leads to
                logger.warning("database.away", error=type(error).__name__)
                connection.close()
            last = job
            if settings.WORKER_THREADS == 1:
                return  # live work would wait for all of it; the wake-up above goes on
            if not self.rooms.come_back(turn):
                wakeup.wake_for_released([job.repository.id])
                return

    def _run_one(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None]) -> bool:
        """Returns False where the run finds no place. A released item waits for its turn in bulk work instead."""
        share = share_of(subscription_id)
        if share is None:
            return True
        if share.in_bulk:
            self.run_released(worker=worker, settled=settled)
            return True
        if not self.rooms.has_met(share.app_id):
            self.rooms.meet(share.app_id, last_run=_seconds_of_last_run(subscription_id))
        turn = Turn(Work(share.app_id, share.repository_id, share.host, is_doubtful=share.is_doubtful))
        try:
            if not self._enter(turn, share):
                (self._left_doubtful if self.rooms.is_doubtful(turn.work) else self._left).set()
                return False
            self._overseer.attend()
            with live_run() as live:
                turn.when_long = live.pass_over
                if turn.is_long:  # it may take long: bulk work does not wait for its end
                    live.pass_over()
                run_subscription(subscription_id, worker=worker, settled=settled, turn=turn)
        finally:
            self.rooms.leave(turn)
        return True

    def _enter(self, turn: Turn, share: Share) -> bool:
        """Returns False where there is no place, or only one that is kept for due runs of others."""
        match self.rooms.enter(turn):
            case Admission.YES:
                return True
            case Admission.NO:
                return False
            case Admission.SPARE:
                return not any(wanted.exists() for wanted in self._wanted_by_others(share))

    def _wanted_by_others(self, share: Share) -> Iterator[SubscriptionQuerySet]:
        """Due subscriptions of other apps and hosts that find a place, then released items of other apps."""
        shut_out = self.rooms.shut_out()
        due = Subscription.objects.active().claimable().exclude(app_id=share.app_id)
        if share.host in shut_out.hosts:
            due = due.exclude(repository__host=share.host)
        yield due.exclude(_doubtful(shut_out)) if shut_out.doubtful else due
        yield Subscription.objects.released().exclude(app_id=share.app_id)

    def _claim_released(self, turn: Turn, worker: str) -> Job | None:
        """Claims the next released item and counts its slot; one claim at a time, so that shares are up to date."""
        with self._claiming:
            let_live_runs_pass()
            full, barred = self.rooms.barred_in_bulk()
            # A restart of the database must not end a slot, whose wake-up is used up. Nothing is leased yet: the time
            # that a lease would have is how long it is tried.
            job = through_outage(Lease(), lambda: self._claim_but_not(full, worker, turn))
            if job is None and full != barred:  # nobody else waits
                job = through_outage(Lease(), lambda: self._claim_but_not(barred, worker, turn))
            if job is not None:
                turn.takes(Work(job.app.id, job.repository.id, job.repository.host, in_bulk=True))
            return job

    @staticmethod
    def _claim_but_not(barred: list[uuid.UUID], worker: str, turn: Turn) -> Job | None:
        if STOPPING.is_set() or not DISK.is_well():
            return None
        shards = [int(shard) for shard in settings.WORKER_QUEUES] or None
        return Job.claim_next_released(worker=worker, barred=barred, shards=shards, turn=turn)

    def _nothing_left(self, turn: Turn) -> bool:
        """Gives the slot up; False where a wake-up has come since the last look for released items."""
        with self._lock:
            if self._knocked and not STOPPING.is_set():
                self._knocked = False
                return False
            self.rooms.leave(turn)
            return True

    def _take_left(self, most: int = 1) -> list[Subscription]:
        """Due subscriptions that find a place; else those of an app or a host that is over its share.

        No question is asked where nothing was left, or only doubtful work that finds no place yet.
        """
        shut_out = self.rooms.shut_out()
        flags = [self._left] if shut_out.doubtful else [self._left, self._left_doubtful]
        if not any(flag.is_set() for flag in flags):
            return []
        for flag in flags:  # before the database is asked: who is left meanwhile says so again
            flag.clear()
        due = Subscription.objects.active().claimable().not_in_bulk().order_by("due_at")
        if shut_out.doubtful:
            due = due.exclude(_doubtful(shut_out))
        in_share = due.exclude(app_id__in=shut_out.apps).exclude(repository__host__in=shut_out.hosts)
        taken = _some_of(in_share, most) or (_some_of(due, most) if shut_out.apps or shut_out.hosts else [])
        if taken:  # there may be more
            for flag in flags:
                flag.set()
        return taken

    def _somebody_was_left(self) -> bool:
        return self._left.is_set() or self._left_doubtful.is_set()

    def _go_on_behind(self, moved: Sequence[Turn]) -> None:
        """Gives the places of runs that have left the short room to runs that found none, or to released items."""
        live = sum(1 for turn in moved if not turn.work.in_bulk)
        wakeup.wake_for_released(
            turn.work.repository_id for turn in moved if turn.work.in_bulk and turn.work.repository_id
        )
        if live:
            wakeup.wake_runs(self._take_left(live))


def _seconds_of_last_run(subscription_id: uuid.UUID) -> float | None:
    run = SyncRun.objects.filter(subscription=subscription_id, finished_at__isnull=False).first()
    return run.seconds if run else None


def _doubtful(shut_out: ShutOut) -> Q:
    return DOUBTFUL | Q(app_id__in=shut_out.slow_apps) | Q(repository_id__in=shut_out.slow_repositories)


def _some_of(due: SubscriptionQuerySet, most: int) -> list[Subscription]:
    """Chooses at random: slots that get free together would all claim the first one, and only one claim wins."""
    found = list(due.only("id", "repository_id")[:LEFT_CHOICE])
    return random.sample(found, min(most, len(found)))


SLOTS = Slots()
