"""Locks between processes on one machine; the kernel frees them when a process dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from syncsvc.exceptions import MirrorBusyError
from syncsvc.git.disk import make_folder, own_disk

_PAUSE = 0.02


@contextlib.contextmanager
def locked(file: Path, *, shared: bool = False, wait: float = 0) -> Iterator[int]:
    """Holds the lock file; MirrorBusyError if it is not had within `wait` seconds. Gives its file descriptor."""
    with own_disk(file.parent):
        make_folder(file.parent)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with own_disk(file.parent):
            _acquire(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + wait)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, kind: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise MirrorBusyError("The mirror is in use by another run; it is tried again.") from None
            time.sleep(_PAUSE)
        else:
            return
