"""The disk that all mirrors of a machine share: what they take, and making room."""

import contextlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.locks import locked
from syncsvc.git.mirror import Mirror, bytes_of
from syncsvc.types import ErrorKind, RemoteHead

_BESIDE = re.compile(r"\.(?:new|old)-[0-9a-f]+$")
# Seconds for which a sum of all mirrors is good: it costs time with their number, and each fetch needs it.
SUM_SECONDS = 30.0
# Part of the limit that is freed beyond need, so that a full folder is not added up before each fetch.
SPARE = 20


@dataclass(frozen=True, slots=True)
class _Sum:
    """Bytes that all mirrors of a folder take, as they were added up at `at`, and what this process fetched since."""

    at: float
    bytes: int

    def fits(self, max_bytes: int) -> bool:
        return self.bytes <= max_bytes and time.monotonic() < self.at + SUM_SECONDS


_sums: dict[Path, _Sum] = {}
_lock = threading.Lock()


def fetch_with_room(mirror: Mirror, head: RemoteHead, max_bytes: int, *, wait: float = 1.0) -> str:
    """`mirror.fetch`, before which others make room: down to `max_bytes`, and once more where the disk is full."""
    root, this = mirror.path.parent, {mirror.path.name}
    make_room(root, max_bytes, keep=this)
    before = _size(mirror.path)
    try:
        return mirror.fetch(head, wait=wait)
    except GitError as error:
        if error.kind is not ErrorKind.WORKER_DISK or not evict(root, sum(sizes(root).values()) // 2, keep=this):
            raise
        return mirror.fetch(head, wait=wait)
    finally:
        _grown(root, _size(mirror.path) - before)


def make_room(root: Path, max_bytes: int, *, keep: Collection[str] = ()) -> None:
    """`evict`, except where the mirrors fit by a sum of the last seconds. Others' fetches since then are not in it."""
    known = _sums.get(root)
    if known is None or not known.fits(max_bytes):
        evict(root, max_bytes, keep=keep, spare=max_bytes // SPARE)


def evict(root: Path, max_bytes: int, *, keep: Collection[str] = (), spare: int = 0) -> list[str]:
    """Removes the least recently used mirrors until the rest fit; returns their names. A mirror in use stays.

    Where anything must go, `spare` bytes more are freed.
    """
    taken = sizes(root)
    total, evicted = sum(taken.values()), list[str]()
    for name in sorted(taken, key=lambda name: _last_used(root / name)) if total > max_bytes else ():
        if total <= max_bytes - spare:
            break
        if name not in keep and _remove(root / name):
            total -= taken[name]
            evicted.append(name)
    with _lock:
        _sums[root] = _Sum(time.monotonic(), total)
    return evicted


def sizes(root: Path) -> dict[str, int]:
    """What each mirror takes on disk, in bytes: as its last writer has noted it, or else as it is measured now."""
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not _BESIDE.search(entry.name)]
        return {name: _size(root / name) for name in names}
    return {}


def _size(mirror: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(mirror.with_name(f"{mirror.name}.fetch").read_bytes())
    return bytes_of(mirror) if (mirror / "HEAD").is_file() else 0


def _grown(root: Path, bytes: int) -> None:
    with _lock:
        if known := _sums.get(root):
            _sums[root] = _Sum(known.at, known.bytes + bytes)


def _remove(path: Path) -> bool:
    with contextlib.suppress(MirrorBusyError, GitError, OSError), locked(path.with_name(f"{path.name}.lock")):
        away = path.with_name(f"{path.name}.old-{secrets.token_hex(4)}")
        path.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        return True
    return False


def _last_used(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.with_name(f"{path.name}.lock").stat().st_mtime
    return 0
