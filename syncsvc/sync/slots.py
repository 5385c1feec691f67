"""Who may use this worker's slots: one app must not have them all while others wait."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable

from django.conf import settings
from django.db.models.functions import Now

from syncsvc.models import Subscription
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.sync.pipeline import run_subscription


class Slots:
    """Counts this process's runs by app. A run over its app's share is left in the database for the next free slot."""

    def __init__(self) -> None:
        self._running: Counter[uuid.UUID] = Counter()
        self._lock = threading.Lock()
        self._left = threading.Event()

    def run(self, subscription_id: uuid.UUID, *, worker: str, settled: Callable[[uuid.UUID], None]) -> None:
        """Runs it if its app's share allows, then what was left because of shares, one after the other."""
        self._run_one(subscription_id, worker, settled)
        while self._left.is_set() and (next_id := self._take_left()):
            self._run_one(next_id, worker, settled)

    def _run_one(self, subscription_id: uuid.UUID, worker: str, settled: Callable[[uuid.UUID], None]) -> None:
        app_id = Subscription.objects.filter(id=subscription_id).values_list("app_id", flat=True).first()
        if app_id is None:
            return
        if not self._enter(app_id):
            self._left.set()
            return
        try:
            run_subscription(subscription_id, worker=worker, settled=settled)
        finally:
            self._leave(app_id)

    def _enter(self, app_id: uuid.UUID) -> bool:
        """At most three quarters of the slots for one app; at most a quarter while runs of others are due."""
        size = settings.WORKER_THREADS
        with self._lock:
            running = self._running[app_id]
        quarter = max(1, size // 4)
        if running >= max(1, size - quarter):
            return False
        if running >= quarter and _due().exclude(app_id=app_id).exists():
            return False
        with self._lock:
            self._running[app_id] += 1
        return True

    def _leave(self, app_id: uuid.UUID) -> None:
        with self._lock:
            self._running[app_id] -= 1
            if not self._running[app_id]:
                del self._running[app_id]

    def _take_left(self) -> uuid.UUID | None:
        quarter = max(1, settings.WORKER_THREADS // 4)
        with self._lock:
            full = [app_id for app_id, running in self._running.items() if running >= quarter]
        waiting = _due().order_by("due_at").values_list("id", flat=True)
        next_id = waiting.exclude(app_id__in=full).first() or waiting.first()
        if next_id is None:
            self._left.clear()
        return next_id


def _due() -> SubscriptionQuerySet:
    return Subscription.objects.active().filter(due_at__lte=Now(), status__in=("pending", "failed"))


SLOTS = Slots()
