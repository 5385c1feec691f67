"""The disk that all mirrors of a machine share: what they take, and making room."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path

from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.locks import locked
from syncsvc.git.mirror import Mirror, bytes_of
from syncsvc.types import ErrorKind, RemoteHead

_BESIDE = re.compile(r"\.(?:new|old)-[0-9a-f]+$")


def fetch_with_room(mirror: Mirror, head: RemoteHead, max_bytes: int, *, wait: float = 1.0) -> str:
    """`mirror.fetch`, before which others make room: down to `max_bytes`, and once more where the disk is full."""
    root, this = mirror.path.parent, {mirror.path.name}
    evict(root, max_bytes, keep=this)
    try:
        return mirror.fetch(head, wait=wait)
    except GitError as error:
        if error.kind is not ErrorKind.WORKER_DISK or not evict(root, sum(sizes(root).values()) // 2, keep=this):
            raise
    return mirror.fetch(head, wait=wait)


def evict(root: Path, max_bytes: int, *, keep: Collection[str] = ()) -> list[str]:
    """Removes the least recently used mirrors until the rest fit; returns their names. One in use stays."""
    taken = sizes(root)
    total, evicted = sum(taken.values()), list[str]()
    if total <= max_bytes:
        return []
    for name in sorted(taken, key=lambda name: _last_used(root / name)):
        if total <= max_bytes:
            break
        if name not in keep and _remove(root / name):
            total -= taken[name]
            evicted.append(name)
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
