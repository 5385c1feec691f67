"""What the processes of a git have read, written and used: whether one is at work, and how much it takes."""

import contextlib
import os
from collections.abc import Iterator

# The programs that take a pack in, as git names them.
_TAKES_OBJECTS = (b"index-pack", b"unpack-objects")


def bytes_moved(process: int) -> int:
    """By git and the gits it has started, from pipes, sockets and files; 0 where the kernel does not tell.

    ssh is left out: it hears from its server even where the git behind that is stuck.
    """
    return sum(sum(_read_and_written(number)) for number in _gits(process))


def bytes_read_before_objects(process: int) -> int | None:
    """The most that one of these gits has read; None once one of them takes objects in.

    curl's reading of a socket is not counted, but what it hands on to git is.
    """
    most = 0
    for number in _gits(process):
        with contextlib.suppress(OSError):
            if any(word in _TAKES_OBJECTS for word in _read(f"/proc/{number}/cmdline").split(b"\0")):
                return None
            most = max(most, _read_and_written(number)[0])
    return most


def cpu_seconds(process: int) -> float:
    """CPU time of git and of the gits it has started; 0 where the kernel does not tell."""
    ticks = 0
    for number in _gits(process):
        with contextlib.suppress(OSError, ValueError):
            # The name, in brackets, may hold spaces; of the fields behind it the 12th to 15th are meant.
            ticks += sum(int(word) for word in _read(f"/proc/{number}/stat").rpartition(b")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _gits(process: int) -> Iterator[int]:
    waiting = [process]
    while waiting:
        number = waiting.pop()
        with contextlib.suppress(OSError, ValueError):  # it has ended, or this is no Linux
            waiting += [int(child) for child in _read(f"/proc/{number}/task/{number}/children").split()]
            if _read(f"/proc/{number}/comm").startswith(b"git"):
                yield number


def _read_and_written(process: int) -> tuple[int, int]:
    with contextlib.suppress(OSError, ValueError):
        read, written = (int(line.split()[1]) for line in _read(f"/proc/{process}/io").splitlines()[:2])
        return read, written
    return 0, 0


def _read(file: str) -> bytes:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
