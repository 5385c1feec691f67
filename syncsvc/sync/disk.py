"""This worker's own disk: a worker that cannot write claims nothing, or it would fail fastest and eat the queue."""

import fcntl
import os
import tempfile
import threading
import time
from pathlib import Path

import structlog
from django.conf import settings

from syncsvc.exceptions import GitError
from syncsvc.git.disk import make_folder, own_disk, temporary_folder

logger = structlog.get_logger(__name__)

# A worker in trouble tests its disk no more often than this.
TEST_SECONDS = 2.0
TEST_BYTES = 256 * 1024


class Disk:
    """What this process knows of its folders. Thread-safe."""

    def __init__(self) -> None:
        self._trouble = ""
        self._tested_at = 0.0
        self._lock = threading.Lock()

    @property
    def trouble(self) -> str:
        """What is wrong, for an operator; blank where nothing is known to be wrong."""
        return self._trouble

    def failed(self, error: str) -> None:
        """A run met trouble with this worker's own disk."""
        with self._lock:
            self._trouble, self._tested_at = error, time.monotonic()
        logger.error("worker.disk", error=error)

    def is_well(self) -> bool:
        """Asked before each claim; writes a file where the last writing failed."""
        if not self._trouble:
            return True
        with self._lock:
            if not self._trouble:
                return True
            if time.monotonic() - self._tested_at < TEST_SECONDS:
                return False
            self._tested_at = time.monotonic()
            self._trouble = write_test()
        if not self._trouble:
            logger.info("worker.disk_well")
        return not self._trouble


def write_test() -> str:
    """Writes and locks a file in each folder that runs write to; says what is wrong, blank where nothing is."""
    try:
        # Private keys lie in the system's folder for temporary files, for as long as git uses them.
        for folder in dict.fromkeys(filter(None, (str(settings.MIRROR_DIR), settings.SPOOL_DIR, temporary_folder()))):
            with own_disk(folder):
                _write_in(Path(folder))
    except GitError as error:
        return str(error)
    return ""


def _write_in(folder: Path) -> None:
    make_folder(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(os.urandom(TEST_BYTES))
        file.flush()
        os.fsync(file.fileno())


DISK = Disk()
