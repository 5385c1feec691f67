"""What is changed while runs go on counts at once: a thread in each process looks once a second, for all its runs."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import Error, connection

from syncsvc.store.looks import Look, look
from syncsvc.sync.lease import Lease

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class RunEndsError(Exception):
    """An operator stopped the run that goes on, or paused it."""


class Watched:
    """One run as the watcher sees it. Its own thread reads `latest`; None before the first look."""

    def __init__(self) -> None:
        self.latest: Look | None = None

    @property
    def is_stopped(self) -> bool:
        seen = self.latest
        return seen is not None and seen.is_stopped

    @property
    def must_end(self) -> bool:
        """An operator stopped the run, or paused it."""
        seen = self.latest
        return seen is not None and (seen.is_stopped or not seen.is_active)


class Watcher:
    def __init__(self, *, pause: float = LOOK_SECONDS) -> None:
        """`pause` is in seconds, between two looks."""
        self.pause = pause
        self._runs: dict[uuid.UUID, Watched] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, lease: Lease, watched: Watched) -> Iterator[None]:
        """Looks after a run for the length of a `with`."""
        with self._lock:
            self._runs[lease.token] = watched
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(lease.token, None)

    def look(self) -> None:
        """Looks once; a run whose lease is lost is left to the lease's keeper."""
        with self._lock:
            runs = dict(self._runs)
        if not runs:
            return
        for token, seen in look(list(runs)).items():
            runs[token].latest = seen

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Error as error:
                logger.warning("watch.failed", error=type(error).__name__)
            finally:
                connection.close()
            time.sleep(self.pause)


WATCHER = Watcher()
