"""Live runs first: before each item, bulk work lets those of this machine's workers end, for a moment."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from django.conf import settings

# A bulk run that would begin waits for live ones no longer than this, and looks so often whether they have ended.
WAIT_SECONDS = 0.1
LOOK_SECONDS = 0.01
FILE = "live.lock"


@contextlib.contextmanager
def live_run() -> Iterator[None]:
    """Says to every process on this machine that a live run goes on; the kernel takes it back when this one dies."""
    with _lock_file() as descriptor:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


def let_live_runs_pass() -> None:
    """Returns when no live run goes on, or after WAIT_SECONDS."""
    end = time.monotonic() + WAIT_SECONDS
    with _lock_file() as descriptor:
        while descriptor is not None and time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOOK_SECONDS)
            except OSError:
                return
            else:
                return


@contextlib.contextmanager
def _lock_file() -> Iterator[int | None]:
    """None where this worker cannot write in its folder: being fair is no reason to fail, the run itself meets that."""
    try:
        settings.MIRROR_DIR.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.MIRROR_DIR / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
