"""Taking in a commit: the row that says what it holds and how it differs from the one before."""

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import batched, chain, islice

from django.db.models import Q, Subquery

from syncsvc.exceptions import GitError, TooLargeError
from syncsvc.git.bounds import MEMORY_LIMIT
from syncsvc.git.manifest import blob_sizes, read_difference, read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.models import Repository, Snapshot
from syncsvc.sync.contents import Contents, check_files
from syncsvc.sync.selection import Selection, selection
from syncsvc.sync.shared import Shared
from syncsvc.types import SUBMODULE_MODE, ErrorKind, TreeChange

DIFFERENCE_GROUP = 1_000
KNOWN_SNAPSHOTS = 1_000
# For so long a commit that exceeds a limit is not read again.
REFUSED_SECONDS = 600.0

# A difference of so many changes is kept; in all, so many changes are: about 5 MB.
SHORT = 200
KEPT_CHANGES = 10_000

COUNTED = (
    *("files", "bytes", "submodules", "long_paths", "large_files"),
    *("unsafe_paths", "unsafe_examples", "unsafe_left_out", "selection"),
)

type Sized = tuple[TreeChange, int, int]

# Stands for a difference that is not kept.
_LONG: list[Sized] = []
# Stands for a difference that git has no memory for.
_HUGE: list[Sized] = []

_known: Shared["Snapshot | _Refusal"] = Shared(room=KNOWN_SNAPSHOTS)
_differences: Shared[list[Sized]] = Shared(room=KEPT_CHANGES, cost=lambda changes: len(changes) + 1)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A commit that exceeds a limit: for a while it is not read again for each app that follows the repository."""

    error: GitError
    until: float = field(default_factory=lambda: time.monotonic() + REFUSED_SECONDS)


def take_in(repository: Repository, mirror: Mirror, commit: str) -> Snapshot:
    """Returns the snapshot of a commit that the mirror has; makes it where the commit is new.

    A snapshot changes only with the settings that decide which files are sent, so the last ones are kept in memory:
    each app that follows a repository asks for them.
    Raises repository_too_large for a commit of more files than `mirror.limits` allow, or that takes too long to read.
    """

    def make() -> Snapshot | _Refusal:
        try:
            with mirror.plan_time.running():
                return _take_in(repository, mirror, commit, chosen)
        except GitError as error:
            if error.kind is not ErrorKind.REPOSITORY_TOO_LARGE:
                raise
            return _Refusal(error.copy())

    limits, chosen = mirror.limits, selection()
    key = (repository.id, commit, limits.max_files, limits.plan_seconds, chosen.digest)
    known = _known.get(key, make, good=_is_good, interrupt=limits.interrupt)
    if isinstance(known, _Refusal):
        raise known.error.copy()
    return known


def _is_good(known: Snapshot | _Refusal) -> bool:
    return isinstance(known, Snapshot) or time.monotonic() < known.until


def _take_in(repository: Repository, mirror: Mirror, commit: str, chosen: Selection) -> Snapshot:
    found = _known_by(repository, commit)
    if found and found[-1].commit == commit:
        check_files(found[-1], mirror.limits.max_files)
        return _counted_again(found[-1], mirror, chosen)
    previous = found[0] if found else None
    snapshot = Snapshot(repository=repository, commit=commit, tree=mirror.commit_info(commit).tree, previous=previous)
    contents = None
    if previous is not None and mirror.has_commit(previous.commit):
        contents = _count_difference(snapshot, previous, mirror, chosen)
    _fill(snapshot, contents or _count(mirror, commit, chosen), mirror)
    # Another run of the same repository may have been quicker: then its row is the one.
    Snapshot.objects.bulk_create(
        [snapshot], update_conflicts=True, unique_fields=["repository", "commit"], update_fields=["tree"]
    )
    return snapshot


def _counted_again(snapshot: Snapshot, mirror: Mirror, chosen: Selection) -> Snapshot:
    """Where its counts are of another selection: a setting was changed since it was taken in."""
    if snapshot.selection != chosen.digest:
        _fill(snapshot, _count(mirror, snapshot.commit, chosen), mirror)
        counted = {column: getattr(snapshot, column) for column in COUNTED}
        Snapshot.objects.filter(pk=snapshot.pk).update(**counted)
    return snapshot


def _known_by(repository: Repository, commit: str) -> list[Snapshot]:
    """The latest snapshot and, last, the snapshot of the commit where there is one."""
    of_it = Snapshot.objects.filter(repository=repository).order_by("-id")
    wanted = of_it.filter(Q(commit=commit) | Q(id=Subquery(of_it.values("id")[:1])))
    return sorted(wanted, key=lambda snapshot: snapshot.commit == commit)


def difference(repository_id: uuid.UUID, mirror: Mirror, old: str, new: str) -> Iterator[Sized] | None:
    """Files that differ between two commits, each with its old and new size in bytes; 0 where there is no blob.

    A short difference is read once for all apps that stood at the old commit. None where the difference does not fit
    into GIT_MEMORY_BYTES, since git holds all of it before it prints any; the files of a commit it prints one by one.
    """
    rest: list[Iterator[Sized]] = []

    def read() -> list[Sized]:
        changes = _with_sizes(mirror, read_difference(mirror, old, new), of=new)
        try:
            first = list(islice(changes, SHORT + 1))
        except TooLargeError as error:
            if error.limit != MEMORY_LIMIT:
                raise
            return _HUGE
        if len(first) <= SHORT:
            return first
        rest.append(chain(first, changes))
        return _LONG

    known = _differences.get((repository_id, old, new), read, interrupt=mirror.limits.interrupt)
    if known is _LONG and not rest:  # another has found out that it is long
        known = read()
    if known is _HUGE:
        return None
    return rest[0] if rest else iter(known)


def _with_sizes(mirror: Mirror, differences: Iterable[TreeChange], *, of: str) -> Iterator[Sized]:
    """The differences of files with their sizes; raises git_corrupt for a malformed tree of the commit `of`.

    Trees of folders that have not changed were checked with the commit before.
    """
    trees = [f"{of}^{{tree}}"]
    for group in batched(differences, DIFFERENCE_GROUP):
        files = [d for d in group if not d.is_folder]
        trees += [d.blob for d in group if d.is_folder and d.blob]
        blobs = {blob for d in files for blob in (_blob(d.old_mode, d.old_blob), _blob(d.mode, d.blob)) if blob}
        sizes = dict(zip(blobs, list(blob_sizes(mirror, blobs, trees=trees)), strict=True))
        trees = []
        for d in files:
            old, new = _blob(d.old_mode, d.old_blob), _blob(d.mode, d.blob)
            yield d, sizes.get(old or "", 0), sizes.get(new or "", 0)


def _blob(mode: str | None, blob: str | None) -> str | None:
    return None if mode is None or mode == SUBMODULE_MODE else blob


def _count(mirror: Mirror, commit: str, chosen: Selection) -> Contents:
    contents = Contents(chosen)
    contents.count(read_manifest(mirror, commit))
    return contents


def _count_difference(snapshot: Snapshot, previous: Snapshot, mirror: Mirror, chosen: Selection) -> Contents | None:
    """Counts the changes into the row; what the commit holds, None where that must be read.

    That is where the row before does not tell it, or the difference is too large for git's memory and not counted.
    """
    changes = difference(snapshot.repository_id, mirror, previous.commit, snapshot.commit)
    if changes is None:
        return None
    contents = Contents.of(previous, chosen)
    counts = {"created": 0, "updated": 0, "deleted": 0}
    for change, old_size, new_size in changes:
        if contents is not None:
            contents.move(change, old_size, new_size)
        word = "created" if change.old_mode is None else "deleted" if change.mode is None else "updated"
        counts[word] += 1
    snapshot.created, snapshot.updated, snapshot.deleted = counts.values()
    return contents


def _fill(snapshot: Snapshot, contents: Contents, mirror: Mirror) -> None:
    contents.check_files(mirror.limits.max_files)
    contents.fill(snapshot)
