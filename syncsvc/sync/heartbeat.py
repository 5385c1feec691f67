"""A worker process says every few seconds that it lives, and what is wrong with it."""

import threading
import time

from syncsvc.sync.disk import DISK
from syncsvc.sync.health import worker_seen

HEARTBEAT_SECONDS = 10
# A failure outside of any run is shown for so many seconds.
CRASH_SHOWN_SECONDS = 600.0


class Crashes:
    """The last failure of this process that no run has on record. Thread-safe."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0.0

    def note(self, what: str, error: Exception) -> None:
        self._text = f"{what} failed with {type(error).__name__}; its traceback is in the worker's log."
        self._at = time.monotonic()

    @property
    def trouble(self) -> str:
        return self._text if time.monotonic() - self._at < CRASH_SHOWN_SECONDS else ""


CRASHES = Crashes()


def start_heartbeat(name: str) -> threading.Thread:
    """`name` is the worker's own among all machines; the thread ends with the process."""
    thread = threading.Thread(target=_beat, args=(name,), name="heartbeat", daemon=True)
    thread.start()
    return thread


def _beat(name: str) -> None:
    pause = threading.Event()
    while True:
        DISK.is_well()
        worker_seen(name, disk=DISK.trouble, crash=CRASHES.trouble)
        pause.wait(HEARTBEAT_SECONDS)
