"""What an app must be told: the difference between what it has and what is there. Pure."""

from collections.abc import Iterable, Iterator

from syncsvc.sync.selection import Selection
from syncsvc.types import Change, ChangeKind, LedgerRow, ManifestEntry, TreeChange


def from_ledger(
    manifest: Iterable[ManifestEntry], ledger: Iterable[LedgerRow], *, epoch: int, selection: Selection
) -> Iterator[Change]:
    """One merge-join of two streams in git's order; entries that are not selected are as good as not there."""
    takes = selection.takes
    rows = iter(ledger)
    row = next(rows, None)
    for entry in manifest:
        if not takes(entry.path, entry.mode, entry.size):
            continue
        while row is not None and row.path < entry.path:
            yield _deletion(row, epoch)
            row = next(rows, None)
        if row is None or row.path != entry.path:
            yield Change(ChangeKind.CREATED, entry.path, entry.mode, entry.blob, entry.size, None, None)
            continue
        if not _up_to_date(row, entry, epoch):
            yield _replacement(row, entry, epoch)
        row = next(rows, None)
    while row is not None:
        yield _deletion(row, epoch)
        row = next(rows, None)


def from_trees(differences: Iterable[tuple[TreeChange, int, int]], *, selection: Selection) -> Iterator[Change]:
    """The same from `git diff-tree`, for a ledger that is clean under the same selection.

    Each difference comes with its old and new size in bytes.
    """
    takes = selection.takes
    for (path, old_mode, old_blob, mode, blob), old_size, size in differences:
        had, has = takes(path, old_mode, old_size), takes(path, mode, size)
        if had and has:
            yield Change(ChangeKind.UPDATED, path, mode, blob, size, old_blob, None)
        elif has:
            yield Change(ChangeKind.CREATED, path, mode, blob, size, None, None)
        elif had:
            yield Change(ChangeKind.DELETED, path, None, None, 0, old_blob, None)


def _up_to_date(row: LedgerRow, entry: ManifestEntry, epoch: int) -> bool:
    return row.doubt_id is None and row.epoch == epoch and row.blob == entry.blob and row.mode == entry.mode


def _replacement(row: LedgerRow, entry: ManifestEntry, epoch: int) -> Change:
    # The kind follows from what was acknowledged alone, so that a repeat with the same id says the same.
    acknowledged = row.blob is not None and row.epoch == epoch
    kind = ChangeKind.UPDATED if acknowledged else ChangeKind.CREATED
    repeats = row.doubt_epoch == epoch and row.doubt_blob == entry.blob and row.doubt_mode == entry.mode
    previous = row.blob if acknowledged else None
    return Change(kind, entry.path, entry.mode, entry.blob, entry.size, previous, row.doubt_id if repeats else None)


def _deletion(row: LedgerRow, epoch: int) -> Change:
    repeats = row.doubt_id is not None and row.doubt_epoch == epoch and row.doubt_blob is None
    previous = row.doubt_previous if repeats else row.blob or row.doubt_blob or row.doubt_previous
    return Change(ChangeKind.DELETED, row.path, None, None, 0, previous, row.doubt_id if repeats else None)
