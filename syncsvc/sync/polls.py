"""Polls of one worker process: in places of their own, so that they wait for no run, and no run waits for them."""

import threading
import time
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from django.conf import settings
from django.db import Error, connection

from syncsvc.stopping import STOPPING
from syncsvc.store.polls import DuePoll, due_polls, put_off_polls
from syncsvc.sync.heartbeat import CRASHES
from syncsvc.sync.poll import poll_repository
from syncsvc.sync.rooms import Shares

logger = structlog.get_logger(__name__)

# How often it looks what is due, in seconds; also when a place gets free that something waited for.
LOOK_SECONDS = 1.0
# Due polls that are read at a time, for each place.
CHOICE = 4
# Times that it reads in one look: what is due the longest may all be of hosts that have their share.
READS = 4


def choose(due: Sequence[DuePoll], running: Collection[DuePoll], *, size: int, of_host: int) -> list[DuePoll]:
    """Chooses the polls that get the free places, of `size` in all. Pure.

    One host has at most `of_host` of them; remotes that failed last or were never reached have at most half together.
    A host whose circuit is open has one place: its probe's.
    """
    taken = list(running)
    for poll in due:
        if len(taken) < size and _fits(poll, taken, doubtful=Shares(size).half, of_host=of_host):
            taken.append(poll)
    return taken[len(running) :]


def _fits(poll: DuePoll, taken: Sequence[DuePoll], *, doubtful: int, of_host: int) -> bool:
    if poll.is_doubtful and sum(1 for other in taken if other.is_doubtful) >= doubtful:
        return False
    same_host = sum(1 for other in taken if other.host == poll.host) if poll.host else 0
    return same_host < (1 if poll.is_probe else of_host)


class Polls:
    """A thread that looks for due polls, and a thread for each running poll: WORKER_THREADS at most.

    No queue stands between: each worker process takes as many polls from the database as it has places for.
    """

    def __init__(self) -> None:
        self._running: dict[uuid.UUID, DuePoll] = {}
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._is_full = False
        self._threads = ThreadPoolExecutor(settings.WORKER_THREADS, thread_name_prefix="poll")

    def start(self) -> None:
        threading.Thread(target=self._run, name="polls", daemon=True).start()

    def knock(self) -> None:
        """Makes the thread look for due polls now."""
        self._bell.set()

    def look(self) -> list[DuePoll]:
        """Begins as many due polls as there are places for, and returns them."""
        size = settings.WORKER_THREADS
        begun: list[DuePoll] = []
        # A host gets more than a quarter of the places only where polls of no other host wait.
        for of_host in (Shares(size).quarter, Shares(size).most):
            for _ in range(READS):
                chosen, may_be_more = self._begin_some(size, of_host)
                begun += chosen
                if not may_be_more:
                    break
        return begun

    def _begin_some(self, size: int, of_host: int) -> tuple[list[DuePoll], bool]:
        """Those that it began, and whether polls of other hosts may be due behind the ones that were read."""
        running = self.running
        if len(running) >= size:
            return [], False
        due = _due(running, size, of_host)
        chosen = choose(due, running, size=size, of_host=of_host)
        self._is_full = len(running) + len(chosen) >= size
        self.begin(chosen)
        return chosen, bool(chosen) and len(due) == CHOICE * size

    @property
    def running(self) -> list[DuePoll]:
        with self._lock:
            return list(self._running.values())

    @property
    def is_knocked(self) -> bool:
        return self._bell.is_set()

    def begin(self, polls: Sequence[DuePoll]) -> None:
        for poll in polls:
            with self._lock:
                self._running[poll.id] = poll
            self._threads.submit(self._poll, poll.id)

    def _poll(self, repository_id: uuid.UUID) -> None:
        try:
            poll_repository(repository_id)
        except Error as error:
            logger.warning("database.away", error=type(error).__name__)
        except Exception as error:
            logger.exception("poll.crashed", repository=str(repository_id))
            CRASHES.note("A poll", error)
        finally:
            connection.close()
            with self._lock:
                del self._running[repository_id]
            if self._is_full:
                self.knock()

    def _run(self) -> None:
        put_off_at = 0.0
        while not STOPPING.is_set():
            try:
                if time.monotonic() >= put_off_at:
                    put_off_polls()
                    put_off_at = time.monotonic() + LOOK_SECONDS
                self.look()
            except Error as error:
                logger.warning("database.away", error=type(error).__name__)
            except Exception as error:  # a bug must not end all polls of this process
                logger.exception("polls.crashed")
                CRASHES.note("The look for due polls", error)
            finally:
                connection.close()
            self._bell.wait(LOOK_SECONDS)
            self._bell.clear()


def _due(running: Collection[DuePoll], size: int, of_host: int) -> list[DuePoll]:
    hosts = [poll.host for poll in running if poll.host]
    return due_polls(
        CHOICE * size,
        running=[poll.id for poll in running],
        full=[host for host in set(hosts) if hosts.count(host) >= of_host],
        doubtful_too=sum(1 for poll in running if poll.is_doubtful) < Shares(size).half,
        shards=[int(shard) for shard in settings.WORKER_QUEUES] or None,
    )


POLLS = Polls()
