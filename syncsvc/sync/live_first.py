"""Live runs first: before each item, bulk work lets those of this machine's workers end, for a moment."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator

from django.conf import settings

from syncsvc.git.disk import make_folder

# A bulk run that would begin waits for live ones no longer than this, and looks so often whether they have ended.
WAIT_SECONDS = 0.1
LOOK_SECONDS = 0.01
FILE = "live.lock"


class LiveRun:
    """A live run that goes on, as every process on this machine sees it; the kernel ends it when this one dies.

    Where this worker cannot write in its folder nobody sees it: being fair is no reason to fail.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = _open()
        self._flock(fcntl.LOCK_SH)

    def pass_over(self) -> None:
        """Bulk work need not wait for it, because it takes long. From any thread, also after its end."""
        with self._lock:
            self._flock(fcntl.LOCK_UN)

    def end(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None

    def _flock(self, kind: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, kind)


@contextlib.contextmanager
def live_run() -> Iterator[LiveRun]:
    """Says to every process on this machine that a live run goes on."""
    run = LiveRun()
    try:
        yield run
    finally:
        run.end()


def let_live_runs_pass() -> None:
    """Returns when no live run goes on, or after WAIT_SECONDS."""
    end = time.monotonic() + WAIT_SECONDS
    descriptor = _open()
    if descriptor is None:
        return
    try:
        while time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOOK_SECONDS)
            except OSError:
                return
            else:
                return
    finally:
        os.close(descriptor)


def _open() -> int | None:
    """None where this worker cannot write in its folder; the run itself meets that."""
    try:
        make_folder(settings.MIRROR_DIR)
        return os.open(settings.MIRROR_DIR / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
