"""A plan's changes on disk, one file a kind: a run's memory does not grow with its size."""

import marshal
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from syncsvc.types import Change, ChangeKind

# The most changes that are marked in doubt, sent and recorded together.
GROUP = 200


class Spool:
    """Takes changes in git's order; gives them back kind by kind, in groups."""

    def __init__(self, directory: str | None = None) -> None:
        self._files: dict[ChangeKind, BinaryIO] = {}
        self._pending: dict[ChangeKind, list[tuple[object, ...]]] = {kind: [] for kind in ChangeKind}
        self._directory = directory or None
        self.counts = dict.fromkeys(ChangeKind, 0)
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, change: Change) -> None:
        kind = change.kind
        self.counts[kind] += 1
        self.bytes += change.size
        pending = self._pending[kind]
        pending.append(tuple(change[1:]))
        if len(pending) == GROUP:
            self._write(kind)

    def groups(self, kind: ChangeKind) -> Iterator[list[Change]]:
        """Reads one kind's changes, once, at most GROUP at a time."""
        if kind in self._files:
            file = self._files[kind]
            file.seek(0)
            for _ in range(self.counts[kind] // GROUP):
                yield [Change(kind, *fields) for fields in marshal.load(file)]  # noqa: S302 - our own temporary file
        if rest := self._pending[kind]:
            yield [Change(kind, *fields) for fields in rest]  # type: ignore[arg-type]

    def _write(self, kind: ChangeKind) -> None:
        if kind not in self._files:
            self._files[kind] = tempfile.TemporaryFile(prefix="syncsvc-", dir=self._directory)  # noqa: SIM115
        marshal.dump(self._pending[kind], self._files[kind])
        self._pending[kind] = []
