"""A plan's changes on disk, by kind: a run's memory does not grow with its size."""

import marshal
import random
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from syncsvc.git.disk import TEMPORARY, own_disk
from syncsvc.sync.spool_room import ROOM
from syncsvc.types import Change, ChangeKind

# The most changes that are marked in doubt, sent and recorded together.
GROUP = 200

# A kind's changes in two lanes: those that the last run sent and that were not acknowledged go last.
type Lane = tuple[ChangeKind, bool]


class Spool:
    """Takes changes in git's order; gives them back kind by kind, in groups, repeats last."""

    def __init__(self, directory: str | None = None) -> None:
        self._files: dict[Lane, BinaryIO] = {}
        self._pending: dict[Lane, list[tuple[object, ...]]] = {
            (kind, repeated): [] for kind in ChangeKind for repeated in (False, True)
        }
        # Where each group begins in its lane's file.
        self._groups: dict[Lane, list[int]] = {lane: [] for lane in self._pending}
        self._directory = directory or None
        self._is_scattered = False
        # On disk.
        self._taken = 0
        self.counts = dict.fromkeys(ChangeKind, 0)
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
        ROOM.give_back(self._taken)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, change: Change) -> None:
        self.counts[change.kind] += 1
        self.bytes += change.size
        lane = (change.kind, change.id is not None)
        pending = self._pending[lane]
        pending.append(tuple(change[1:]))
        if len(pending) == GROUP:
            self._write(lane)

    def scatter(self) -> None:
        """Groups that were not read yet come in any order: files of one folder may fail for one reason."""
        self._is_scattered = True

    def groups(self, kind: ChangeKind) -> Iterator[tuple[list[Change], bool]]:
        """Reads one kind's changes, once, at most GROUP at a time, each group with whether it is of repeats."""
        for repeated in (False, True):
            lane = (kind, repeated)
            left = self._groups[lane]
            while left:
                at = random.randrange(len(left)) if self._is_scattered else 0  # noqa: S311 - no secret
                self._files[lane].seek(left.pop(at))
                yield [Change(kind, *fields) for fields in marshal.load(self._files[lane])], repeated  # noqa: S302 - our own file
            if rest := self._pending[lane]:
                yield [Change(kind, *fields) for fields in rest], repeated  # type: ignore[arg-type]

    def _write(self, lane: Lane) -> None:
        """A full disk is met here, while planning, and not when the group is read."""
        group = marshal.dumps(self._pending[lane])
        self._taken += len(group)
        with own_disk(self._directory or TEMPORARY):
            ROOM.grow(self._taken, by=len(group), folder=self._directory)
            if lane not in self._files:
                self._files[lane] = tempfile.TemporaryFile(prefix="syncsvc-", dir=self._directory)  # noqa: SIM115
            self._groups[lane].append(self._files[lane].tell())
            self._files[lane].write(group)
            self._files[lane].flush()
        self._pending[lane] = []
