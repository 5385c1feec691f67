"""What travels in requests: a file, a batch of files, or a big file part by part."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from syncsvc.delivery.payload import Payload, batch_id, ping
from syncsvc.git.blobs import BlobStream, open_blob
from syncsvc.git.mirror import Mirror
from syncsvc.types import Change, ErrorKind

# A batch's files together, before what surrounds them.
BATCH_BYTES = 1024 * 1024


def change_id(change: Change) -> str:
    """Every change that travels was marked, and has its id."""
    if change.id is None:
        raise ValueError("A change was to be sent that was never marked in doubt.")
    return change.id


class Refusal(NamedTuple):
    """Why a message was not acknowledged, the last time it was sent."""

    kind: ErrorKind
    error: str


class Cargo(Protocol):
    """One request after another until `finished`; all its changes are acknowledged by the last one.

    `failures` counts refusals that may pass by themselves; `refusal` is the last of them. `is_final`: no second chance.
    `known_bad`: the last run sent it and it was not acknowledged.
    """

    failures: int
    refusal: Refusal | None
    is_final: bool
    known_bad: bool

    @property
    def changes(self) -> Sequence[Change]: ...

    @property
    def content_bytes(self) -> int: ...

    @property
    def kind(self) -> str: ...

    def request(self, payload: Payload, timestamp: str) -> tuple[str, bytes]:
        """The webhook id and the body of the present request; asked again, it is that request again."""
        ...

    def acknowledge(self) -> None:
        """The present request was acknowledged: on to the next one."""
        ...

    @property
    def finished(self) -> bool:
        """True where no request is left."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Single:
    """One file, whole; `content` is None for a deletion."""

    change: Change
    content: bytes | None
    known_bad: bool = False
    is_final: bool = False
    failures: int = 0
    refusal: Refusal | None = None

    @property
    def changes(self) -> Sequence[Change]:
        return (self.change,)

    @property
    def content_bytes(self) -> int:
        return len(self.content or b"")

    @property
    def kind(self) -> str:
        return self.change.kind.value

    @property
    def finished(self) -> bool:
        return True

    def request(self, payload: Payload, timestamp: str) -> tuple[str, bytes]:
        return change_id(self.change), payload.single(self.change, self.content, timestamp)

    def acknowledge(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(slots=True)
class Batch:
    """Several files; their contents stay, for the case that they must go out one by one."""

    singles: list[Single] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    size: int = 0
    known_bad: bool = False
    is_final: bool = False
    failures: int = 0
    refusal: Refusal | None = None

    def takes(self, item: bytes, *, most: int) -> bool:
        return len(self.items) < most and self.size + len(item) <= BATCH_BYTES

    def add(self, single: Single, item: bytes) -> None:
        self.singles.append(single)
        self.items.append(item)
        self.size += len(item)

    def split(self) -> list[Single]:
        """Its files one by one, which get no second chance of their own, and are refused where nothing more is sent."""
        for single in self.singles:
            single.is_final, single.refusal = True, self.refusal
        return self.singles

    @property
    def changes(self) -> Sequence[Change]:
        return [single.change for single in self.singles]

    @property
    def content_bytes(self) -> int:
        return sum(single.content_bytes for single in self.singles)

    @property
    def kind(self) -> str:
        return "batch"

    @property
    def finished(self) -> bool:
        return True

    def request(self, payload: Payload, timestamp: str) -> tuple[str, bytes]:
        return batch_id([change_id(change) for change in self.changes]), payload.batch(self.items, timestamp)

    def acknowledge(self) -> None:
        pass

    def close(self) -> None:
        pass


class Parts:
    """One big file: a part goes out when the one before was acknowledged, the last after the whole was checked.

    `next_part` is the first part that the endpoint does not have.
    """

    def __init__(
        self, change: Change, mirror: Mirror, *, part_bytes: int, known_bad: bool = False, next_part: int = 0
    ) -> None:
        self.changes: Sequence[Change] = (change,)
        self.content_bytes = change.size
        self.known_bad = known_bad
        self.is_final = False
        self.failures = 0
        self.refusal: Refusal | None = None
        # The file was begun again in this run, which happens once.
        self.has_restarted = False
        self._mirror = mirror
        self._stream: BlobStream | None = None
        self._part: bytes | None = None
        self._part_bytes = part_bytes
        self._total = -(-change.size // part_bytes)
        self.next_part = next_part if next_part < self._total else 0

    @property
    def kind(self) -> str:
        return self.changes[0].kind.value

    @property
    def finished(self) -> bool:
        return self.next_part == self._total

    @property
    def has_begun(self) -> bool:
        """A part was acknowledged, and the endpoint is to have it."""
        return self.next_part > 0

    def request(self, payload: Payload, timestamp: str) -> tuple[str, bytes]:
        """GitError git_corrupt instead of the last part where the content is not the blob's."""
        index, change = self.next_part, self.changes[0]
        stream = self._stream or self._open()
        if self._part is None:
            self._part = stream.read(self._part_bytes)
        digest = stream.sha256 if index + 1 == self._total else None
        body = payload.part(change, self._part, index, self._total, digest, timestamp)
        return f"{change_id(change)}.{index}", body

    def acknowledge(self) -> None:
        self.next_part += 1
        self._part = None

    def restart(self) -> None:
        """Begins again with part 0."""
        self.close()
        self.next_part, self.has_restarted = 0, True

    def close(self) -> None:
        """Ends git and lets the part go; the next request reads it again."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._part = None

    def _open(self) -> BlobStream:
        """The content from the present part on. Parts before it are read for the whole file's hash."""
        change = self.changes[0]
        self._stream = stream = open_blob(self._mirror, change.blob or "", change.size)
        for _ in range(self.next_part):
            stream.read(self._part_bytes)
        return stream


class Ping:
    """A question instead of files: does the endpoint answer at all?"""

    changes: Sequence[Change] = ()
    content_bytes = 0
    kind = "ping"
    finished = True
    known_bad = False

    def __init__(self, app_id: str, app_name: str, *, is_final: bool) -> None:
        self.is_final = is_final
        self.failures = 0
        self.refusal: Refusal | None = None
        self._app_id, self._app_name = app_id, app_name
        self._webhook_id = str(uuid.uuid4())

    def request(self, payload: Payload, timestamp: str) -> tuple[str, bytes]:
        return self._webhook_id, ping(self._app_id, self._app_name, timestamp)

    def acknowledge(self) -> None:
        pass

    def close(self) -> None:
        pass


class Sent(NamedTuple):
    """A message on its way: the round of its app's window, and the database's time of its sending."""

    cargo: Cargo
    round: int
    at: datetime
