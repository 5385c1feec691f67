"""Who may use this worker's slots: one app must not have them all while others wait."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import chain

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from syncsvc.models import Operation, Subscription
from syncsvc.models.transitions import SubscriptionQuerySet
from syncsvc.stopping import STOPPING
from syncsvc.sync.pipeline import run_subscription

# Of those that are due for the longest.
LEFT_CHOICE = 64


class Slots:
    """Counts this process's runs, by app and of bulk operations.

    A run over its app's share, or over the half that bulk runs may hold, is left in the database for the next free
    slot.
    """

    def __init__(self) -> None:
        self._running: Counter[uuid.UUID] = Counter()
        self._bulk = 0
        self._lock = threading.Lock()
        self._left = threading.Event()

    def run(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None]) -> None:
        """Runs it if its app's share allows, then what was left because of shares, one after the other."""
        self._run_one(subscription_id, worker=worker, settled=settled)
        while self._left.is_set() and not STOPPING.is_set() and (next_id := self._take_left()):
            if not self._run_one(next_id, worker=worker, settled=settled):
                return  # a slot that is in use will come by here when it is free

    def _run_one(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[Operation], None]) -> bool:
        """False where its app, or bulk work, has its share of the slots."""
        found = Subscription.objects.share_of(subscription_id)
        if found is None:
            return True
        app_id, bulk = found
        try:
            if not self._enter(app_id, bulk=bulk):
                self._left.set()
                return False
            run_subscription(subscription_id, worker=worker, settled=settled)
        finally:
            self._leave(app_id, bulk=bulk)
        return True

    def _enter(self, app_id: uuid.UUID, *, bulk: bool) -> bool:
        """At most three quarters of the slots for one app; at most a quarter while runs of others are due.

        The slot is counted before it is looked whether it may be taken: rivals must see it. Leave it either way.
        """
        size = settings.WORKER_THREADS
        with self._lock:
            running = self._running[app_id]
            self._running[app_id] += 1
            self._bulk += bulk
            if bulk and self._bulk > _half():
                return False
        quarter = max(1, size // 4)
        if running < quarter:
            return True
        return running < max(1, size - quarter) and not any(
            wanted.exclude(app_id=app_id).exists() for wanted in _wanted()
        )

    def _leave(self, app_id: uuid.UUID, *, bulk: bool) -> None:
        with self._lock:
            self._bulk -= bulk
            self._running[app_id] -= 1
            if not self._running[app_id]:
                del self._running[app_id]

    def _take_left(self) -> uuid.UUID | None:
        quarter = max(1, settings.WORKER_THREADS // 4)
        with self._lock:
            full = [app_id for app_id, running in self._running.items() if running >= quarter]
            bulk_is_full = self._bulk >= _half()
        wanted = (_wanted()[0].not_in_bulk(),) if bulk_is_full else _wanted()
        waiting = [found.order_by("due_at").values_list("id", flat=True) for found in wanted]
        fair = (_one_of(ids.exclude(app_id__in=full)) for ids in waiting)
        any_at_all = (_one_of(ids) for ids in waiting) if full else ()
        next_id = next((id for id in chain(fair, any_at_all) if id), None)
        if next_id is None and not bulk_is_full:  # else what is left may be bulk work, for the next slot that it gets
            self._left.clear()
        return next_id


def _half() -> int:
    """The slots that bulk runs may hold."""
    return max(1, settings.WORKER_THREADS // 2)


def _one_of(ids: QuerySet[Subscription, uuid.UUID]) -> uuid.UUID | None:
    """Not the first: every slot that gets free at this moment would claim it, and all but one in vain."""
    found = ids[:LEFT_CHOICE]
    return random.choice(found) if found else None  # noqa: S311 - no secret


def _wanted() -> tuple[SubscriptionQuerySet, SubscriptionQuerySet]:
    """What could be claimed: what is due, then what operations have released."""
    due = Subscription.objects.active().filter(due_at__lte=Now(), status__in=("pending", "failed"))
    return due, Subscription.objects.released()


SLOTS = Slots()
