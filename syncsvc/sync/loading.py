"""Loading cargo: changes from the spool, marked in doubt group by group, joined with their content from git."""

import os
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

from django.conf import settings

from syncsvc.delivery.payload import Payload
from syncsvc.exceptions import GitError
from syncsvc.git.blobs import BlobReader
from syncsvc.git.mirror import Mirror
from syncsvc.sync.begun import BegunFiles
from syncsvc.sync.cargo import BATCH_BYTES, Batch, Cargo, Parts, Single
from syncsvc.sync.recorder import Recorder
from syncsvc.sync.shared import Shared
from syncsvc.sync.spool import Spool
from syncsvc.types import Change, ChangeKind

# Groups that are marked, and asked of git, before they are needed, so that neither is waited for.
GROUPS_AHEAD = 2


class Blobs(Protocol):
    def request(self, blobs: Sequence[str]) -> None: ...

    def read(self) -> bytes:
        """The next one in the order of the requests."""
        ...


# Small contents of small plans: the next app's run wants the same.
SHARED_BYTES = 16 * 1024 * 1024
_contents: Shared[bytes] = Shared(room=SHARED_BYTES, cost=len)


class SharedBlobs:
    """For a plan of a few files: git is only started for what no other run of this process has read lately."""

    def __init__(self, reader: BlobReader, repository_id: uuid.UUID) -> None:
        self._reader, self._repository_id = reader, repository_id
        self._wanted: deque[str] = deque()

    def request(self, blobs: Sequence[str]) -> None:
        self._wanted.extend(blobs)

    def read(self) -> bytes:
        blob = self._wanted.popleft()
        return _contents.get((self._repository_id, blob), lambda: self._read(blob))

    def _read(self, blob: str) -> bytes:
        self._reader.request([blob])
        return self._reader.read()


class Damaged:
    """A change whose content git does not have: nothing can be sent for it."""

    def __init__(self, change: Change, error: GitError) -> None:
        self.change, self.error = change, error


# The variant's digit from a random one: its upper two bits are 1 and 0.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Loader:
    """Gives cargo that may be sent: its changes' marks are in the database."""

    def __init__(
        self,
        *,
        spool: Spool,
        mirror: Mirror,
        blobs: Blobs,
        recorder: Recorder,
        payload: Payload,
        max_batch: int,
        begun: BegunFiles,
    ) -> None:
        self._spool, self._mirror, self._blobs, self._recorder = spool, mirror, blobs, recorder
        self._payload, self._begun = payload, begun
        # An operator may change it during the run: a lower one holds at once, a higher one from the next group on.
        self.max_batch = max_batch
        self._part_bytes: int = settings.CONTENT_CHUNK_BYTES

    def cargo(self, kind: ChangeKind) -> Iterator[Cargo | Damaged]:
        for group, known_bad in self._marked_groups(kind):
            loaded = (self._load(change, known_bad) for change in group)
            yield from self._batches(loaded, known_bad) if self.max_batch > 1 else loaded

    def _marked_groups(self, kind: ChangeKind) -> Iterator[tuple[list[Change], bool]]:
        ahead: deque[tuple[list[Change], bool, Future[None]]] = deque()
        for changes, repeated in self._spool.groups(kind):
            ids = random_uuids(len(changes))
            group = [change if change.id else change._replace(id=id) for change, id in zip(changes, ids, strict=True)]
            ahead.append((group, repeated, self._recorder.mark_in_doubt(group)))
            self._blobs.request([change.blob for change in group if change.blob and not self._in_parts(change)])
            if len(ahead) > GROUPS_AHEAD:
                yield self._when_marked(*ahead.popleft())
        while ahead:
            yield self._when_marked(*ahead.popleft())

    @staticmethod
    def _when_marked(group: list[Change], repeated: bool, marked: "Future[None]") -> tuple[list[Change], bool]:
        marked.result()
        return group, repeated

    def _batches(self, loaded: Iterable[Cargo | Damaged], known_bad: bool) -> Iterator[Cargo | Damaged]:
        batch = Batch(known_bad=known_bad)
        for cargo in loaded:
            if not isinstance(cargo, Single) or self.max_batch == 1:
                yield cargo
                continue
            item = self._payload.batch_item(cargo.change, cargo.content)
            if len(item) > BATCH_BYTES:
                yield cargo
                continue
            if not batch.takes(item, most=self.max_batch):
                yield batch
                batch = Batch(known_bad=known_bad)
            batch.add(cargo, item)
        if batch.items:
            yield batch

    def _load(self, change: Change, known_bad: bool) -> Single | Parts | Damaged:
        try:
            if change.blob is None:
                return Single(change, None, known_bad)
            if self._in_parts(change):
                next_part = self._begun.next_part(change) if known_bad else 0
                return Parts(
                    change, self._mirror, part_bytes=self._part_bytes, known_bad=known_bad, next_part=next_part
                )
            return Single(change, self._blobs.read(), known_bad)
        except GitError as error:
            return Damaged(change, error)

    def _in_parts(self, change: Change) -> bool:
        return change.size > self._part_bytes


def random_uuids(count: int) -> list[str]:
    """Random UUIDs (RFC 9562, version 4) as text: one call of the system for all, a quarter of the time of `uuid4`."""
    digits = os.urandom(16 * count).hex()
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}"
        f"-{_VARIANT[digits[at + 16]]}{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in range(0, 32 * count, 32)
    ]
