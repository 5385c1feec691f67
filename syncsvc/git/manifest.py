"""A commit's files, and the difference of two commits, as streams."""

import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched

from syncsvc.exceptions import GitError, TooLargeError
from syncsvc.git.mirror import Mirror
from syncsvc.git.process import GitProcess
from syncsvc.types import ErrorKind, ManifestEntry, TreeChange

_NOTHING = b"000000"
_GROUP = 500
# A larger tree is checked piece by piece, so that memory does not grow with it.
_PIECE = 1 << 20
# A difference has at most so many lines for each file that a commit may have: files and folders, of two commits.
_LINES = 4
# git itself follows no path of this length; without a bound one name would fill the memory.
_LONGEST_PATH = 4 << 20
# A longer path comes as its first bytes: it is sent to nobody, and a thousand whole ones would fill the memory.
PATH_BEGINNING = 8192
_FEWER_FILES = "follow a branch with fewer files"
_CUT_OFF = "git's list of files was cut off; it is read again by the next run."
_DISORDER = "The commit's tree is malformed: a path comes twice or out of order. Push a tree that `git fsck` accepts."
# Entries of a tree object, by the number of bytes of an object id: mode and name.
_ENTRIES = {width: re.compile(rb"([0-7]++) ([^\0/]++)\0.{%d}" % width, re.DOTALL) for width in (20, 32)}
# All entries that follow each other from the beginning. A search for the next one would take hours in hostile bytes.
_WELL_FORMED = {width: re.compile(rb"(?:[0-7]++ [^\0/]++\0.{%d})*+" % width, re.DOTALL) for width in (20, 32)}


def read_manifest(mirror: Mirror, commit: str) -> Iterator[ManifestEntry]:
    """Every file, link and submodule, in the byte order of paths; raises GitError rather than end early.

    Of a longer path PATH_BEGINNING bytes are given. Raises TooLargeError for more than `limits.max_files`, before the
    first that is too many.
    """
    arguments = ["ls-tree", "-r", "-z", "-l", "--full-tree", commit]
    sha, size = 12 + len(commit), 13 + len(commit)
    order = _Order()
    modes: dict[bytes, str] = {}
    for record in _records(mirror, arguments, most=mirror.limits.max_files, too_many=too_many_files):
        # "<mode> blob <sha> <size, padded>\t<path>"; a submodule is a commit, two letters longer, of size "-"
        meta, _, path = record.partition(b"\t")
        order.take(path)
        path = path[:PATH_BEGINNING]
        mode = meta[:6]
        text = modes.get(mode) or modes.setdefault(mode, mode.decode())
        if meta[7:11] == b"blob":
            yield ManifestEntry(path, text, meta[12:sha].decode(), _size(meta[size:]))
        else:
            yield ManifestEntry(path, text, meta[14 : sha + 2].decode(), 0)


def read_difference(mirror: Mirror, old: str, new: str) -> Iterator[TreeChange]:
    """Files, submodules and folders that differ between two commits; a rename is a deletion and a creation.

    The paths of files and submodules come in byte order, of longer ones PATH_BEGINNING bytes. The caller has
    `blob_sizes` check the trees of the folders and of the commit: git reads malformed ones without complaint.
    """
    arguments = ["diff-tree", "-r", "-t", "-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none"]
    # Two records a line: what happened, and the path.
    most = 2 * _LINES * mirror.limits.max_files
    records = _records(mirror, [*arguments, old, new], most=most, too_many=_too_many_changes)
    previous = b""
    for meta in records:
        path = next(records, None)
        if path is None:
            raise GitError(ErrorKind.GIT_CORRUPT, _CUT_OFF)
        # ":<old mode> <new mode> <old sha> <new sha> <letter>"
        old_mode, mode, old_blob, blob, _ = meta[1:].split(b" ")
        before = (None, None) if old_mode == _NOTHING else (old_mode.decode(), old_blob.decode())
        after = (None, None) if mode == _NOTHING else (mode.decode(), blob.decode())
        change = TreeChange(path[:PATH_BEGINNING], *before, *after)
        if not change.is_folder:
            if path <= previous:
                raise _malformed()
            previous = path
        yield change


def blob_sizes(mirror: Mirror, blobs: Iterable[str], *, trees: Sequence[str] = ()) -> Iterator[int]:
    """The size of each blob in bytes, in the order asked; raises git_corrupt at one that is missing.

    Checks the `trees` first, in the same process: a malformed one raises git_corrupt, which is the remote's. They are
    named by their ids, or by a commit's: `<id>^{tree}`.
    """
    # With the type, though nobody asks for it: without, git 2.39 gives no contents.
    answers = "%(objecttype) %(objectsize)"
    with mirror.start("cat-file", f"--batch-command={answers}", "--buffer", talks=True) as process:
        for names in batched(trees, _GROUP):
            process.write("".join(f"contents {name}\n" for name in names).encode() + b"flush\n")
            for name in names:
                size = _size(process.read_line().partition(b" ")[2])
                _check_tree(process, size, width=len(name.partition("^")[0]) // 2)
                process.read_exactly(1)  # the line's end
        for group in batched(blobs, _GROUP):
            process.write("".join(f"info {blob}\n" for blob in group).encode() + b"flush\n")
            for _ in group:
                yield _size(process.read_line().partition(b" ")[2])


def _records(
    mirror: Mirror, arguments: list[str], *, most: int, too_many: Callable[[int], GitError]
) -> Iterator[bytes]:
    """Records that end in NUL, block by block; complete only if git ends well after a whole record.

    Raises what `too_many` makes of `limits.max_files` where there are more than `most`.
    """
    with mirror.start(*arguments) as process:
        rest, count = b"", 0
        while block := process.read_some():
            *records, rest = (rest + block).split(b"\0")
            count += len(records)
            if count > most:
                raise too_many(mirror.limits.max_files)
            if len(rest) > _LONGEST_PATH:
                raise _too_long()
            yield from records
        try:
            process.finish()
        except GitError:
            if process.ended_by == signal.SIGSEGV:
                raise _too_deep() from None
            raise
        if rest:
            raise GitError(ErrorKind.GIT_CORRUPT, _CUT_OFF)


class _Order:
    """Checks that paths come in byte order, each once, and that no path is below the path of a file."""

    def __init__(self) -> None:
        self._previous = b""
        # How long the paths of files are that the previous path begins with; its own is the last.
        self._beginnings: list[int] = []

    def take(self, path: bytes) -> None:
        previous, beginnings = self._previous, self._beginnings
        if path <= previous:
            raise _malformed()
        while beginnings and not path.startswith(previous[: beginnings[-1]]):
            beginnings.pop()
        if beginnings and path.startswith(b"/", beginnings[-1]):
            raise _malformed()
        beginnings.append(len(path))
        self._previous = path


def too_many_files(limit: int) -> TooLargeError:
    return TooLargeError(f"The commit has more than {limit:,} files", limit="MAX_FILES", otherwise=_FEWER_FILES)


def _too_many_changes(limit: int) -> TooLargeError:
    found = f"The commit differs from the one before it in more than {_LINES * limit:,} files and folders"
    return TooLargeError(found, limit="MAX_FILES", otherwise=_FEWER_FILES)


def _too_long() -> GitError:
    text = f"The commit has a path of more than {_LONGEST_PATH:,} bytes, which no setting allows. Rename it."
    return GitError(ErrorKind.REPOSITORY_TOO_LARGE, text)


def _too_deep() -> GitError:
    """git 2.43 and newer says so by itself; older ones follow folders until their stack is full."""
    text = "The commit's folders are nested too deep for git, which broke off at them, and no setting allows that."
    return GitError(ErrorKind.REPOSITORY_TOO_LARGE, f"{text} Nest them less.")


def _check_tree(process: GitProcess, size: int, *, width: int) -> None:
    """Checks the names in the tree object that comes next, likewise; `width` is the number of bytes of an object id."""
    if size <= _PIECE:
        _check_small_tree(process.read_exactly(size), width)
        return
    order, rest, left = _Order(), b"", size
    while left:
        piece = process.read_exactly(min(left, _PIECE))
        if not piece:
            raise GitError(ErrorKind.GIT_CORRUPT, _CUT_OFF)
        content = rest + piece
        end = _length_of_entries(content, width)
        for entry in _ENTRIES[width].finditer(content, 0, end):
            order.take(_order_key(*entry.groups()))
        rest, left = content[end:], left - len(piece)
        if -1 < rest.find(b"\0") < len(rest) - width:
            raise _malformed()
        if len(rest) > _LONGEST_PATH:
            raise _too_long()
    if rest:
        raise _malformed()


def _length_of_entries(content: bytes, width: int) -> int:
    """Of the well-formed entries at the beginning, in bytes."""
    entries = _WELL_FORMED[width].match(content)
    return entries.end() if entries else 0


def _order_key(mode: bytes, name: bytes) -> bytes:
    """git orders a folder as if its name ended in a slash."""
    return name + b"/" if mode.lstrip(b"0") == b"40000" else name


def _check_small_tree(content: bytes, width: int) -> None:
    if _length_of_entries(content, width) != len(content):
        raise _malformed()
    entries: list[tuple[bytes, bytes]] = _ENTRIES[width].findall(content)
    names = {name for _, name in entries}
    order = [_order_key(mode, name) for mode, name in entries]
    if len(names) != len(entries) or order != sorted(order):
        raise _malformed()


def _malformed() -> GitError:
    return GitError(ErrorKind.GIT_CORRUPT, _DISORDER, at_remote=True)


def _size(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:  # "BAD" or "… missing": git goes on and exits with 0
        raise GitError(ErrorKind.GIT_CORRUPT, "A file's content is missing from the mirror; it is rebuilt.") from None
