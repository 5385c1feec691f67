"""A commit's files, and the difference of two commits, as streams."""

from collections.abc import Iterable, Iterator
from itertools import batched

from syncsvc.exceptions import GitError
from syncsvc.git.mirror import Mirror
from syncsvc.types import ErrorKind, ManifestEntry, TreeChange

_NOTHING = b"000000"
_GROUP = 500
_CUT_OFF = "git's list of files was cut off; it is read again by the next run."
_DISORDER = "The commit's tree is malformed: a path comes twice or out of order. Push a tree that `git fsck` accepts."


def read_manifest(mirror: Mirror, commit: str) -> Iterator[ManifestEntry]:
    """Every file, link and submodule, in the byte order of paths; raises GitError rather than end early."""
    arguments = ["ls-tree", "-r", "-z", "-l", "--full-tree", commit]
    sha, size = 12 + len(commit), 13 + len(commit)
    previous = b""
    modes: dict[bytes, str] = {}
    for record in _records(mirror, arguments):
        # "<mode> blob <sha> <size, padded>\t<path>"; a submodule is a commit, two letters longer, of size "-"
        meta, _, path = record.partition(b"\t")
        if path <= previous:
            raise GitError(ErrorKind.GIT_CORRUPT, _DISORDER, at_remote=True)
        previous = path
        mode = meta[:6]
        text = modes.get(mode) or modes.setdefault(mode, mode.decode())
        if meta[7:11] == b"blob":
            yield ManifestEntry(path, text, meta[12:sha].decode(), _size(meta[size:]))
        else:
            yield ManifestEntry(path, text, meta[14 : sha + 2].decode(), 0)


def read_difference(mirror: Mirror, old: str, new: str) -> Iterator[TreeChange]:
    """What differs between two commits, in the byte order of paths; a rename is a deletion and a creation."""
    arguments = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none", old, new]
    records = _records(mirror, arguments)
    for meta in records:
        path = next(records, None)
        if path is None:
            raise GitError(ErrorKind.GIT_CORRUPT, _CUT_OFF)
        # ":<old mode> <new mode> <old sha> <new sha> <letter>"
        old_mode, mode, old_blob, blob, _ = meta[1:].split(b" ")
        before = (None, None) if old_mode == _NOTHING else (old_mode.decode(), old_blob.decode())
        after = (None, None) if mode == _NOTHING else (mode.decode(), blob.decode())
        yield TreeChange(path, *before, *after)


def blob_sizes(mirror: Mirror, blobs: Iterable[str]) -> Iterator[int]:
    """The size of each blob in bytes, in the order asked; raises git_corrupt at one that is missing."""
    with mirror.start("cat-file", "--batch-command=%(objectsize)", "--buffer", talks=True) as process:
        for group in batched(blobs, _GROUP):
            process.write("".join(f"info {blob}\n" for blob in group).encode() + b"flush\n")
            for _ in group:
                yield _size(process.read_line())


def _records(mirror: Mirror, arguments: list[str]) -> Iterator[bytes]:
    """Records that end in NUL, block by block; complete only if git ends well after a whole record."""
    with mirror.start(*arguments) as process:
        rest = b""
        while block := process.read_some():
            *records, rest = (rest + block).split(b"\0")
            yield from records
        process.finish()
        if rest:
            raise GitError(ErrorKind.GIT_CORRUPT, _CUT_OFF)


def _size(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:  # "BAD" or "… missing": git goes on and exits with 0
        raise GitError(ErrorKind.GIT_CORRUPT, "A file's content is missing from the mirror; it is rebuilt.") from None
