"""Whether the receiver holds exactly what git has: byte for byte, mode for mode."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from syncsvc.management.demo_receiver import HeldFile, ReceiverClient
from syncsvc.management.demo_source import Source, manifest_of, repository_with
from syncsvc.sync.contents import Contents
from syncsvc.sync.selection import selection
from syncsvc.types import ManifestEntry
from syncsvc.words import left_out_text

SHOWN = 10


@dataclass(slots=True)
class Comparison:
    """`problems` has a line for each path that differs; what cannot be sent is counted, and no problem.

    `missing` are the paths that only git has; each is a problem too.
    """

    files: int = 0
    left_out_text: str = ""
    problems: list[str] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)

    @property
    def left_out(self) -> str:
        return f" (left out: {self.left_out_text})" if self.left_out_text else ""

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
    chosen = selection()
    contents = Contents(chosen)
    for entry in manifest:
        contents.count([entry])
        if chosen.takes(entry.path, entry.mode, entry.size):
            result.files += 1
            yield entry.path, entry
    result.left_out_text = left_out_text(
        submodules=contents.submodules,
        long_paths=contents.long_paths,
        large_files=contents.large_files,
        unsafe_paths=contents.unsafe_paths if chosen.leaves_out_unsafe else 0,
    )


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
