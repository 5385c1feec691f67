"""Who may use this worker's slots: live work before bulk work, and one app must not have them all while others wait."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from syncsvc import wakeup
from syncsvc.models import Operation, Subscription
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.stopping import STOPPING
from syncsvc.store.claim import share_of
from syncsvc.sync.job import Job
from syncsvc.sync.lease import Lease
from syncsvc.sync.live_first import let_live_runs_pass, live_run
from syncsvc.sync.outage import AWAY, through_outage
from syncsvc.sync.pipeline import run_job, run_subscription

logger = structlog.get_logger(__name__)

# Of those that are due for the longest.
LEFT_CHOICE = 64


class Slots:
    """Counts this process's runs, by app, and those for operations.

    A run over its app's share is left in the database for the next free slot. Slots of bulk work, at most half of all,
    take one released item after the other until none is left.
    """

    def __init__(self) -> None:
        self._running: Counter[uuid.UUID] = Counter()
        self._bulk = 0
        # A wake-up for released items came while bulk work had its half: a slot that ends looks again.
        self._knocked = False
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._left = threading.Event()

    def run(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None]) -> None:
        """Runs it if its app's share allows, then what was left because of shares, one after the other."""
        self._run_one(subscription_id, worker=worker, settled=settled)
        while self._left.is_set() and not STOPPING.is_set() and (next_id := self._take_left()):
            if not self._run_one(next_id, worker=worker, settled=settled):
                return  # a slot that is in use will come by here when it is free

    def run_released(self, *, worker: str, settled: Callable[[Operation], None]) -> None:
        """Runs what operations have released until nothing is left, or does nothing where bulk work has its half."""
        with self._lock:
            if self._bulk >= _half():
                self._knocked = True
                return
            self._bulk += 1
        try:
            self._run_what_is_released(worker, settled)
        except BaseException:
            with self._lock:
                self._bulk -= 1
            raise

    def _run_what_is_released(self, worker: str, settled: Callable[[Operation], None]) -> None:
        """With a slot of bulk work, which it has given up when it returns."""
        last: Job | None = None
        while True:
            job = self._claim_released(worker)
            if job is None:
                if not self._nothing_left():
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
            finally:
                self._leave(job.app.id)
            last = job
            if settings.WORKER_THREADS == 1:  # live work would wait for all of it; the wake-up above goes on
                with self._lock:
                    self._bulk -= 1
                return

    def _run_one(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None]) -> bool:
        """False where its app has its share of the slots. What an operation has released waits for its turn there."""
        found = share_of(subscription_id)
        if found is None:
            return True
        app_id, bulk = found
        if bulk:
            self.run_released(worker=worker, settled=settled)
            return True
        try:
            if not self._enter(app_id):
                self._left.set()
                return False
            with live_run():
                run_subscription(subscription_id, worker=worker, settled=settled)
        finally:
            self._leave(app_id)
        return True

    def _enter(self, app_id: uuid.UUID) -> bool:
        """At most three quarters of the slots for one app; at most a quarter while runs of others are due.

        The slot is counted before it is looked whether it may be taken: rivals must see it. Leave it either way.
        """
        with self._lock:
            running = self._running[app_id]
            self._running[app_id] += 1
        if running < _quarter():
            return True
        return running < _most() and not any(wanted.exclude(app_id=app_id).exists() for wanted in _wanted())

    def _leave(self, app_id: uuid.UUID) -> None:
        with self._lock:
            self._running[app_id] -= 1
            if not self._running[app_id]:
                del self._running[app_id]

    def _claim_released(self, worker: str) -> Job | None:
        """The next item, its slot counted. One at a time, so that apps' shares are seen by who comes next."""
        with self._claiming:
            let_live_runs_pass()
            with self._lock:
                full = [app_id for app_id, running in self._running.items() if running >= _quarter()]
                barred = [app_id for app_id in full if self._running[app_id] >= _most()]
            # A restart of the database must not end a slot, whose wake-up is used up. Nothing is leased yet: the time
            # that a lease would have is how long it is tried.
            job = through_outage(Lease(), lambda: self._claim_but_not(full, worker))
            if job is None and full != barred:  # nobody else waits
                job = through_outage(Lease(), lambda: self._claim_but_not(barred, worker))
            if job is not None:
                with self._lock:
                    self._running[job.app.id] += 1
            return job

    @staticmethod
    def _claim_but_not(barred: list[uuid.UUID], worker: str) -> Job | None:
        if STOPPING.is_set():
            return None
        shards = [int(shard) for shard in settings.WORKER_QUEUES] or None
        return Job.claim_next_released(worker=worker, barred=barred, shards=shards)

    def _nothing_left(self) -> bool:
        """Gives the slot up, unless somebody has knocked since it was asked what is left."""
        with self._lock:
            if self._knocked and not STOPPING.is_set():
                self._knocked = False
                return False
            self._bulk -= 1
            return True

    def _take_left(self) -> uuid.UUID | None:
        with self._lock:
            full = [app_id for app_id, running in self._running.items() if running >= _quarter()]
        ids = _wanted()[0].not_in_bulk().order_by("due_at").values_list("id", flat=True)
        next_id = _one_of(ids.exclude(app_id__in=full)) or (_one_of(ids) if full else None)
        if next_id is None:
            self._left.clear()
        return next_id


def _quarter() -> int:
    """The slots that one app may have while others wait."""
    return max(1, settings.WORKER_THREADS // 4)


def _half() -> int:
    """The slots that bulk runs may hold."""
    return max(1, settings.WORKER_THREADS // 2)


def _most() -> int:
    """The slots that one app may have at all."""
    return max(1, settings.WORKER_THREADS - settings.WORKER_THREADS // 4)


def _one_of(ids: QuerySet[Subscription, uuid.UUID]) -> uuid.UUID | None:
    """Not the first: every slot that gets free at this moment would claim it, and all but one in vain."""
    found = ids[:LEFT_CHOICE]
    return random.choice(found) if found else None  # noqa: S311 - no secret


def _wanted() -> tuple[SubscriptionQuerySet, SubscriptionQuerySet]:
    """What could be claimed: what is due, then what operations have released."""
    return Subscription.objects.active().claimable(), Subscription.objects.released()


SLOTS = Slots()
