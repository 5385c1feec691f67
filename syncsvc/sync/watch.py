"""What is changed while runs go on counts at once: a thread in each process looks once a second, for all its runs."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import Error, connection

from syncsvc.models import App
from syncsvc.store.looks import Look, look
from syncsvc.sync.lease import Lease
from syncsvc.sync.present_pace import PACE

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class RunEndsError(Exception):
    """The run that goes on is to end now: a stop, a pause, another remote, or the end of this process."""


class Watched:
    """One run as the watcher sees it. Its own thread reads `latest`; None before the first look."""

    def __init__(self, remote: tuple[str, str] | None = None) -> None:
        """`remote` is the URL and the branch that the run goes by."""
        self.remote = remote
        self.latest: Look | None = None
        # Requests that it has made so far, and those that people were told of.
        self.requests = self.requests_told = 0

    @property
    def app(self) -> App | None:
        return self.latest.app if self.latest else None

    @property
    def is_stopped(self) -> bool:
        seen = self.latest
        return seen is not None and seen.is_stopped

    @property
    def has_other_remote(self) -> bool:
        """The repository has another URL or branch by now: the run's commit is none of it."""
        seen = self.latest
        return seen is not None and self.remote is not None and seen.remote != self.remote

    @property
    def must_end(self) -> bool:
        """An operator stopped the run, paused it, or gave its repository another remote."""
        seen = self.latest
        return seen is not None and (seen.is_stopped or not seen.is_active or self.has_other_remote)


class Watcher:
    def __init__(self, *, pause: float = LOOK_SECONDS) -> None:
        """`pause` is in seconds, between two looks."""
        self.pause = pause
        self._runs: dict[uuid.UUID, tuple[Lease, Watched]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, lease: Lease, watched: Watched) -> Iterator[None]:
        """Looks after a run for the length of a `with`."""
        with self._lock:
            self._runs[lease.token] = lease, watched
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(lease.token, None)

    @property
    def runs(self) -> list[Watched]:
        with self._lock:
            return [watched for _, watched in self._runs.values()]

    def look(self) -> None:
        """Looks once. A run that has no lease any more was deleted, or is another worker's."""
        with self._lock:
            runs = dict(self._runs)
        if not runs:
            return
        seen = look(list(runs))
        for token, (lease, watched) in runs.items():
            if token in seen:
                watched.latest = seen[token]
            elif token in self._runs:
                lease.lost.set()

    def _run(self) -> None:
        while True:
            try:
                self.look()
                PACE.tell(self.runs)
            except Error as error:
                logger.warning("watch.failed", error=type(error).__name__)
            finally:
                connection.close()
            time.sleep(self.pause)


WATCHER = Watcher()
