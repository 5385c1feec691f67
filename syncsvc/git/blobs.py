"""The content of files: many small ones through one git, and big ones piece by piece."""

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from syncsvc.exceptions import GitError, TooLargeError
from syncsvc.git.mirror import Mirror
from syncsvc.git.process import GitProcess
from syncsvc.types import ErrorKind


class BlobReader:
    """One `git cat-file` for many blobs. Ask for a group ahead and git is never idle; a group ends in one flush.

    A blob is whole in memory when it is read: big ones are for `open_blob`.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._asked: deque[str] = deque()
        self._process: GitProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process = None

    def request(self, blobs: Sequence[str]) -> None:
        """Never blocks; a few hundred at a time."""
        if self._process:
            self._process.write(_commands(blobs))
        self._asked.extend(blobs)

    def read(self) -> bytes:
        """The next blob in the order of the requests, its hash checked.

        Raises GitError for one that is missing or damaged, or that took too long; the next call gives the one after it.
        """
        process = self._running()
        blob = self._asked.popleft()
        try:
            content = _read_one(process, blob)
        except GitError:
            self.close()  # the next read starts another one, and asks it for what is outstanding
            raise
        digest = _blob_hash(blob, len(content or b""))
        digest.update(content or b"")
        if content is None or digest.hexdigest() != blob:
            raise _damaged(blob)
        return content

    def _running(self) -> GitProcess:
        if not self._process:
            self._process = self._mirror.start("cat-file", "--batch-command", "--buffer", talks=True)
            self._process.write(_commands(self._asked))
        return self._process


class BlobStream:
    """One blob in pieces, through a git of its own. `verified` once it was read to its end and its hash was right."""

    def __init__(self, mirror: Mirror, blob: str, size: int) -> None:
        self.verified = False
        self._blob = blob
        self._left = size
        self._digest = _blob_hash(blob, size)
        self._sha256 = hashlib.sha256()
        self._process = mirror.start("cat-file", "blob", blob)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        """Of the whole blob, once it is verified."""
        return self._sha256.hexdigest()

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer only at the blob's end, whose piece is given only if the whole is right."""
        piece = self._process.read_exactly(min(size, self._left))
        if len(piece) < min(size, self._left):
            raise _why_it_ended(self._process, self._blob)
        self._digest.update(piece)
        self._sha256.update(piece)
        self._left -= len(piece)
        if not self._left and not self.verified:
            self._verify()
        return piece

    def close(self) -> None:
        self._process.kill()

    def _verify(self) -> None:
        if self._process.read_some() or self._digest.hexdigest() != self._blob:
            raise _damaged(self._blob)
        self._process.finish()
        self.verified = True


def open_blob(mirror: Mirror, blob: str, size: int) -> BlobStream:
    return BlobStream(mirror, blob, size)


def _commands(blobs: Iterable[str]) -> bytes:
    return "".join([f"contents {blob}\n" for blob in blobs]).encode() + b"flush\n"


def _read_one(process: GitProcess, blob: str) -> bytes | None:
    """None for a blob that git says is missing; an error where git has ended before giving it."""
    header = process.read_line()
    if header.endswith(b" missing"):
        return None
    words = header.split(b" ")
    if len(words) != 3:
        raise _why_it_ended(process, blob)
    size = int(words[2])
    content = process.read_exactly(size + 1)  # a line end follows
    if len(content) <= size or content[-1:] != b"\n":
        raise _why_it_ended(process, blob)
    return content[:-1]


def _why_it_ended(process: GitProcess, blob: str) -> GitError:
    """git dies of the first damaged object it meets; anything but that (a signal, a limit) is told as it is."""
    try:
        process.finish()
    except GitError as error:
        if not process.exit_code or isinstance(error, TooLargeError):
            return error
    return _damaged(blob)


def _blob_hash(blob: str, size: int) -> "hashlib._Hash":
    """git's own: the blob's header, then its content, in the algorithm that the length of its id tells."""
    header = b"blob %d\0" % size
    if len(blob) == 64:
        return hashlib.sha256(header)
    return hashlib.sha1(header, usedforsecurity=False)


def _damaged(blob: str) -> GitError:
    return GitError(
        ErrorKind.GIT_CORRUPT,
        f"The content {blob} is missing or damaged in the mirror, which is rebuilt from the remote.",
    )
