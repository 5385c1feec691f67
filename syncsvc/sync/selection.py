"""Which of a commit's files are sent: one rule for planning, for the counts of a snapshot, and for the demo's check."""

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings

from syncsvc.git.unsafe_paths import is_unsafe
from syncsvc.types import SUBMODULE_MODE

# A longer path does not fit into the ledger's index.
MAX_PATH_BYTES = 2_000


@dataclass(frozen=True)
class Selection:
    """`max_file_bytes` None: files of any size. Unsafe paths: see `git/unsafe_paths.py`."""

    max_file_bytes: int | None = None
    leaves_out_unsafe: bool = False

    @cached_property
    def digest(self) -> str:
        """Of all that decides which files are sent; blank where no setting leaves out any.

        A ledger is clean, and a snapshot's counts are good, for the selection of the same digest only.
        """
        if self == Selection():
            return ""
        return hashlib.sha256(repr((self.max_file_bytes, self.leaves_out_unsafe)).encode()).hexdigest()

    @cached_property
    def most_bytes(self) -> int:
        return sys.maxsize if self.max_file_bytes is None else self.max_file_bytes

    def takes(self, path: bytes, mode: str | None, size: int) -> bool:
        """True for a file or link that is sent. A path that is not taken is as good as not there."""
        return (
            mode is not None
            and mode != SUBMODULE_MODE
            and len(path) <= MAX_PATH_BYTES
            and size <= self.most_bytes
            and not (self.leaves_out_unsafe and is_unsafe(path))
        )


def selection() -> Selection:
    """That of the settings."""
    return Selection(settings.MAX_FILE_BYTES or None, settings.UNSAFE_PATHS == "leave_out")
