"""What a killed worker leaves in a mirror: locks, half-written files, and a git that is still running."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

FETCH_MARK = "SYNCSVC_FETCH"  # in the environment of each git that writes to a mirror, with the mirror's path
_PATIENCE = 5.0


def remove_leftovers(mirror: Path) -> None:
    """Only under the fetch lock: then nothing that is alive owns these files."""
    _end_orphans(mirror)
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/??/tmp_obj_*"):
        for file in mirror.glob(pattern):
            file.unlink(missing_ok=True)
    folders = [*mirror.glob("objects/tmp_objdir-*"), *mirror.parent.glob(f"{mirror.name}.new-*")]
    folders += mirror.parent.glob(f"{mirror.name}.old-*")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _end_orphans(mirror: Path) -> None:
    """A worker that dies by SIGKILL leaves its git running, which would go on writing beside the next one."""
    orphans = _orphans(mirror)
    deadline = time.monotonic() + _PATIENCE
    for process in orphans:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    while orphans and time.monotonic() < deadline:
        time.sleep(0.01)
        orphans = _orphans(mirror)


def _orphans(mirror: Path) -> list[int]:
    mark = f"{FETCH_MARK}={mirror}".encode()
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):  # no /proc: nothing is found, and git's own locks must do
        with contextlib.suppress(OSError):
            if mark in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found
