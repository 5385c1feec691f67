"""Trouble with this worker's own disk, said in words and with a kind of its own."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from syncsvc.exceptions import GitError
from syncsvc.types import ErrorKind

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
# What says that a worker cannot write, and not that there is a bug.
DISK_ERRORS = frozenset({*_FULL, *_NO_LOCKS, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
_MAKE_ROOM = "free space there, or lower MIRROR_MAX_BYTES"
_GIVE_RIGHTS = "make the folder writable for the user that the worker runs as"
_USE_LOCKS = "its file system has no file locks (flock); set MIRROR_DIR to a folder on one that has"
# Stands for the folder in messages where the system has none that can be written.
TEMPORARY = "for temporary files"


@contextlib.contextmanager
def own_disk(folder: Path | str) -> Iterator[None]:
    """Turns an OSError that is raised inside into a GitError of the kind worker_disk about this folder."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error.strerror or str(error), error.errno) from error


def make_folder(folder: Path) -> None:
    """Makes it where it is missing, for its owner alone: whoever may write there could put another mirror in place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def temporary_folder() -> str:
    """The system's folder for temporary files; worker_disk where none can be written."""
    with own_disk(TEMPORARY):
        return tempfile.gettempdir()


def disk_error(folder: Path | str, reason: str, number: int | None = None) -> GitError:
    """An error that says what happened, in which folder, and what to do; `number` is the errno, if there is one."""
    if number is None:
        number = next((code for code in _FULL if os.strerror(code) == reason), 0)
    advice = _MAKE_ROOM if number in _FULL else _USE_LOCKS if number in _NO_LOCKS else _GIVE_RIGHTS
    return GitError(ErrorKind.WORKER_DISK, f"This worker cannot write in its folder {folder} ({reason}): {advice}.")
