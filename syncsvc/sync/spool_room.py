"""The disk that plans take: part of MIRROR_MAX_BYTES, before which mirrors give way, and never the last of a disk."""

import os
import tempfile
import threading
from errno import ENOSPC
from pathlib import Path

from django.conf import settings

from syncsvc.exceptions import GitError, TooLargeError
from syncsvc.git.disk import disk_error
from syncsvc.git.eviction import evict, make_room, sizes
from syncsvc.types import ErrorKind

MEBIBYTE = 1 << 20
# A plan asks for room each time it has grown by so much.
STEP_BYTES = MEBIBYTE


class SpoolRoom:
    """What the spools of this process take together. Thread-safe."""

    def __init__(self) -> None:
        # A plan may always take so much, however small MIRROR_MAX_BYTES is.
        self.least = 64 * MEBIBYTE
        # What plans leave free on their disk, or this part of it where that is less.
        self.reserve, self.reserve_part = 64 * MEBIBYTE, 1 / 20
        # Where no room is left, a plan of so much that takes more than all others is the one that is too large.
        self.large = 16 * MEBIBYTE
        self.taken = 0
        self._lock = threading.Lock()

    @property
    def for_mirrors(self) -> int:
        """Bytes that mirrors may take while plans take theirs."""
        return max(0, settings.MIRROR_MAX_BYTES - self.taken)

    def grow(self, spool_bytes: int, *, by: int, folder: str | None) -> None:
        """A spool takes `spool_bytes` by now.

        Raises repository_too_large for more than half of MIRROR_MAX_BYTES, and worker_disk before the disk is full.
        """
        with self._lock:
            self.taken += by
        limit = max(self.least, settings.MIRROR_MAX_BYTES // 2)
        if spool_bytes > limit:
            raise TooLargeError(
                f"The plan of the run takes more than {limit:,} bytes on disk, half of what mirrors and plans may take",
                limit="MIRROR_MAX_BYTES",
                otherwise="follow a branch with fewer files",
            )
        if spool_bytes // STEP_BYTES != (spool_bytes - by) // STEP_BYTES or spool_bytes == by:
            self._make_room(spool_bytes, folder or tempfile.gettempdir())

    def give_back(self, spool_bytes: int) -> None:
        with self._lock:
            self.taken -= spool_bytes

    def _make_room(self, spool_bytes: int, folder: str) -> None:
        root: Path = settings.MIRROR_DIR
        make_room(root, self.for_mirrors)
        if self._is_low(folder) and _share_a_disk(root, folder):
            evict(root, sum(sizes(root).values()) // 2)
        if not self._is_low(folder):
            return
        if spool_bytes >= self.large and spool_bytes * 2 > self.taken:
            text = f"The plan of the run takes over {spool_bytes:,} bytes, and its folder {folder} has no room for more"
            advice = "Set SPOOL_DIR to a folder on a larger disk, or follow a branch with fewer files"
            raise GitError(ErrorKind.REPOSITORY_TOO_LARGE, f"{text} (SPOOL_DIR). {advice}.")
        raise disk_error(folder, "hardly any space is left", ENOSPC)

    def _is_low(self, folder: str) -> bool:
        disk = os.statvfs(folder)
        # Some network file systems do not tell.
        reserve = min(self.reserve, disk.f_blocks * disk.f_frsize * self.reserve_part)
        return disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < reserve


def _share_a_disk(one: Path, other: str) -> bool:
    try:
        return os.stat(one).st_dev == os.stat(other).st_dev
    except OSError:
        return False


ROOM = SpoolRoom()
