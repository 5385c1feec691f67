"""Limits of one git and of all that it starts, set by the kernel; and the proof that a git met one of them."""

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncsvc.exceptions import TooLargeError
from syncsvc.git.complaints import HUNG_UP
from syncsvc.git.errors import MAX_MESSAGE, clean

# The setting of the bytes that a mirror may take.
REPOSITORY_LIMIT = "MAX_REPOSITORY_BYTES"
# The setting of the memory that one git may allocate.
MEMORY_LIMIT = "GIT_MEMORY_BYTES"
# From here on a shell's numbers may overflow, and a limit is none.
_NO_LIMIT = 1 << 50
# Seconds of CPU beyond the limit, which is looked at once a second: then the kernel ends a process by itself.
_GRACE = 5
# git's own words for an allocation that failed; a remote's words begin with "remote: ".
_NO_MEMORY = re.compile(
    rb"^(?:fatal: (?:Out of memory, |data too large to fit into virtual memory|mmap failed: Cannot allocate memory"
    rb"|(?:inflate|deflate)\w*: out of memory"
    rb"|unable to create (?:\w+ )?thread: )"
    rb"|fatal: unable to access '.*': Out of memory$"
    rb"|(?:fatal|error): (?:cannot|unable to) (?:fork|create)[^']*: Cannot allocate memory).*",
    re.MULTILINE,
)
_HUNG_UP = re.compile(b"^" + HUNG_UP.pattern.encode(), re.MULTILINE)
_NO_BYTES_LEFT = re.compile(rb"^(?:fatal|error): (?:.*: )?File too large$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a git; 0 is no limit. A system that lacks one of them does without.

    `memory_bytes` counts what each process allocates (RLIMIT_DATA), not the packs that it maps. `cpu_seconds` counts
    the CPU time of all its processes, `file_bytes` one file that is written. `refs_bytes` counts what is read of a
    remote before the first object.
    """

    memory_bytes: int = 0
    cpu_seconds: int = 0
    file_bytes: int = 0
    refs_bytes: int = 0

    @property
    def commands(self) -> Iterator[str]:
        """Words of the shell that set the limits; one that the system does not know, or has lower, is left as it is."""
        yield "ulimit -c 0"  # a core has credentials in it
        if 0 < self.memory_bytes < _NO_LIMIT:
            yield f"ulimit -d {-(-self.memory_bytes // 1024)}"
        if 0 < self.cpu_seconds < _NO_LIMIT:
            most = self.cpu_seconds + _GRACE
            yield f"ulimit -S -t {most} && ulimit -H -t {most + _GRACE}"
        if 0 < self.file_bytes < _NO_LIMIT:
            # Ignored, the signal leaves git time to say which write failed.
            yield f"trap '' XFSZ; ulimit -f {-(-self.file_bytes // 512)}"

    def exceeded(self, stderr: bytes, return_code: int, hide: Sequence[str]) -> TooLargeError | None:
        """The limit that a git has met, by its own words or by the signal that ended it; None where there is no proof.

        `hide` are the secrets and paths that must not be shown. Where the remote ended the call without an answer in
        git's protocol, words may be its own: ssh passes them on as they are.
        """
        if _HUNG_UP.search(stderr):
            stderr = b""
        if self.memory_bytes and (said := _NO_MEMORY.search(stderr)):
            return TooLargeError(
                f"git needs more than {self.memory_bytes:,} bytes of memory for this repository",
                limit=MEMORY_LIMIT,
                otherwise="take the largest files out of the repository",
                said=clean(said[0].decode("utf-8", "replace"), hide)[: MAX_MESSAGE // 2],
            )
        if self.cpu_seconds and return_code == -signal.SIGXCPU:
            return too_much_time(self.cpu_seconds)
        if self.file_bytes and _NO_BYTES_LEFT.search(stderr):
            return too_many_bytes(self.file_bytes, self.file_bytes)
        return None


def too_much_time(limit: int) -> TooLargeError:
    return TooLargeError(
        f"git took more than {limit:,} s of CPU time for this repository",
        limit="GIT_CPU_SECONDS",
        otherwise="make the repository smaller",
    )


def too_many_bytes(found: int, limit: int) -> TooLargeError:
    more = f"{found:,} bytes, over the limit of {limit:,}," if found > limit else f"more than {limit:,} bytes"
    return TooLargeError(
        f"The repository takes {more} on this worker's disk",
        limit=REPOSITORY_LIMIT,
        otherwise="take large files out of the repository",
    )


def too_many_refs(found: int, limit: int) -> TooLargeError:
    return TooLargeError(
        f"The remote has sent {found:,} bytes of refs and messages before any file, over the limit of {limit:,}",
        limit="MAX_REFS_BYTES",
        otherwise="delete branches and tags on the remote that nobody needs",
    )
