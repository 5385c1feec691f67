"""Leases: what says that a subscription is run here, and by nobody else."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.db import Error, connection

from syncsvc.models import Subscription
from syncsvc.store.leases import renew_leases

logger = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """Somebody else may run this subscription now: stop, and write nothing."""


class Lease:
    """One held lease. Its end is reckoned by this machine's monotonic clock from before the last renewal was asked."""

    def __init__(self) -> None:
        self.token = uuid.uuid4()
        self.lost = threading.Event()
        self._safe_until = time.monotonic() + settings.LEASE_SECONDS

    def renewed(self, asked_at: float) -> None:
        self._safe_until = asked_at + settings.LEASE_SECONDS

    def covers(self, seconds: float) -> bool:
        """True where something that takes this long would be over before the lease can end."""
        return not self.lost.is_set() and time.monotonic() + seconds <= self._safe_until


class LeaseKeeper:
    """A thread that renews all leases of this process in one UPDATE every LEASE_RENEW_SECONDS."""

    def __init__(self) -> None:
        self._leases: dict[uuid.UUID, Lease] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, lease: Lease) -> Iterator[None]:
        """Renews a lease for the length of a `with`."""
        with self._lock:
            self._leases[lease.token] = lease
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._leases.pop(lease.token, None)

    def renew(self) -> None:
        """Renews once; a lease that is no longer ours is marked lost."""
        with self._lock:
            leases = dict(self._leases)
        if not leases:
            return
        asked_at = time.monotonic()
        held = renew_leases(list(leases))
        for token, lease in leases.items():
            if token in held:
                lease.renewed(asked_at)
            elif token in self._leases:
                lease.lost.set()

    def give_up(self) -> None:
        """Ends all leases of this process now: the sweep hands what they were for to other workers."""
        with self._lock:
            leases, self._leases = self._leases, {}
        for lease in leases.values():
            lease.lost.set()
        Subscription.objects.end_leases(list(leases))

    def _run(self) -> None:
        # A failed renewal is tried again soon: a lease outlives an outage of most of its length.
        while True:
            pause = settings.LEASE_RENEW_SECONDS
            try:
                self.renew()
            except Error as error:
                logger.warning("lease.renewal_failed", error=type(error).__name__)
                pause = min(1.0, pause)
            finally:
                connection.close()
            time.sleep(pause)


KEEPER = LeaseKeeper()
