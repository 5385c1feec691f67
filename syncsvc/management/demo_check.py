"""Whether the receiver holds exactly what git has: byte for byte, mode for mode."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from syncsvc.management.demo_receiver import HeldFile, ReceiverClient
from syncsvc.management.demo_source import Source, manifest_of, repository_with
from syncsvc.sync.changes import sendable
from syncsvc.types import SUBMODULE_MODE, ManifestEntry

SHOWN = 10


@dataclass(slots=True)
class Comparison:
    """`problems` has a line for each path that differs; what cannot be sent is counted, and no problem.

    `missing` are the paths that only git has; each is a problem too.
    """

    files: int = 0
    submodules: int = 0
    long_paths: int = 0
    problems: list[str] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)

    @property
    def left_out(self) -> str:
        parts = [(self.submodules, "submodules"), (self.long_paths, "paths over 2,000 bytes")]
        listed = " and ".join(f"{count} {what}" for count, what in parts if count)
        return f" (left out: {listed})" if listed else ""

    @property
    def shown_problems(self) -> list[str]:
        more = len(self.problems) - SHOWN
        return self.problems[:SHOWN] + ([f"and {more} more"] if more > 0 else [])


def compare(source: Source, commit: str, receiver: ReceiverClient, repository: str) -> Comparison:
    """Git is asked by a git of its own, and the receiver for all of its content, which is hashed here again."""
    result = Comparison()
    with repository_with(source, commit) as folder:
        expected = dict(_expected(manifest_of(folder, commit), result))
    for held in list(receiver.files(repository)):
        entry = expected.pop(held.path, None)
        if entry is None:
            result.problems.append(f"{held.path!r}: the receiver has it, git has not")
        elif problem := _difference(entry, held, receiver, repository):
            result.problems.append(f"{held.path!r}: {problem}")
    result.missing += expected
    result.problems += [f"{path!r}: git has it, the receiver has not" for path in expected]
    return result


def _expected(manifest: Iterator[ManifestEntry], result: Comparison) -> Iterator[tuple[bytes, ManifestEntry]]:
    for entry in manifest:
        if sendable(entry.path, entry.mode):
            result.files += 1
            yield entry.path, entry
        elif entry.mode == SUBMODULE_MODE:
            result.submodules += 1
        else:
            result.long_paths += 1


def _difference(entry: ManifestEntry, held: HeldFile, receiver: ReceiverClient, repository: str) -> str:
    """What is wrong with a file that both have; blank where nothing is."""
    if held.mode != entry.mode:
        return f"mode {held.mode}, in git {entry.mode}"
    if (held.blob, held.size) != (entry.blob, entry.size):
        return f"blob {held.blob} of {held.size} bytes, in git {entry.blob} of {entry.size}"
    digest = hashlib.sha256() if len(entry.blob) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % entry.size)
    for piece in receiver.content(repository, held):
        digest.update(piece)
    return "" if digest.hexdigest() == entry.blob else "the receiver's bytes are not those of its blob"
