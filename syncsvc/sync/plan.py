"""Planning a run: every change is found and spooled before the first request."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched

from django.conf import settings

from syncsvc.git.manifest import read_manifest, too_many_files
from syncsvc.git.mirror import Mirror
from syncsvc.models import Snapshot, Subscription
from syncsvc.store import ledger
from syncsvc.sync.changes import from_ledger, from_trees
from syncsvc.sync.job import Job
from syncsvc.sync.selection import Selection, selection
from syncsvc.sync.snapshots import difference
from syncsvc.sync.spool import Spool
from syncsvc.types import Change, ChangeKind, LedgerRow

# Before so many rows or changes the run is asked whether it goes on: it may be stopped, or take too long.
CHECKED = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes by kind; `known` is how many files the app had by the ledger."""

    known: int
    deletes: int
    created: int = 0
    updated: int = 0
    deletes_too_much: bool = False
    # Of the selection that it was made with.
    selection: str = ""

    @property
    def changes(self) -> int:
        return self.created + self.updated + self.deletes


def make_plan(job: Job, mirror: Mirror, snapshot: Snapshot, spool: Spool) -> Plan:
    """Fills the spool with what the app must be told to have this snapshot. The mirror must be held for reading.

    Raises repository_too_large where that takes longer than the mirror's limits allow.
    """
    with mirror.plan_time.running():
        return _make_plan(job, mirror, snapshot, spool)


def _make_plan(job: Job, mirror: Mirror, snapshot: Snapshot, spool: Spool) -> Plan:
    chosen = selection()
    clean = _clean_at(job.subscription, chosen)
    if clean is not None and clean.id == snapshot.id:
        return _planned(clean.files, spool, chosen)
    if (
        clean is not None
        and mirror.has_commit(clean.commit)
        and (found := difference(job.repository.id, mirror, clean.commit, snapshot.commit)) is not None
    ):
        _spool(from_trees(found, selection=chosen), spool, mirror)
        plan = _planned(clean.files, spool, chosen)
        if plan.known + plan.created - plan.deletes > mirror.limits.max_files:
            raise too_many_files(mirror.limits.max_files)
        return plan
    rows = _Counted(ledger.rows(job.subscription.id), mirror)
    manifest = read_manifest(mirror, snapshot.commit)
    _spool(from_ledger(manifest, rows, epoch=job.epoch, selection=chosen), spool, mirror)
    return _planned(rows.count, spool, chosen)


def _clean_at(subscription: Subscription, chosen: Selection) -> Snapshot | None:
    """The snapshot that the ledger is exactly, under this selection; None where each row has to be looked at.

    Under another one the app lacks files of that snapshot, or has some that it is not to have.
    """
    is_clean = subscription.ledger_is_clean and subscription.clean_selection == chosen.digest
    return subscription.clean_snapshot if is_clean else None


def _planned(known: int, spool: Spool, chosen: Selection) -> Plan:
    deletes = spool.counts[ChangeKind.DELETED]
    return Plan(
        known=known,
        deletes=deletes,
        created=spool.counts[ChangeKind.CREATED],
        updated=spool.counts[ChangeKind.UPDATED],
        deletes_too_much=known > settings.MASS_DELETE_MINIMUM and deletes * 100 > known * settings.MASS_DELETE_PERCENT,
        selection=chosen.digest,
    )


def _spool(changes: Iterator[Change], spool: Spool, mirror: Mirror) -> None:
    for group in batched(changes, CHECKED):
        mirror.check()
        for change in group:
            spool.add(change)


class _Counted:
    """Counts the ledger's rows while they go by."""

    def __init__(self, rows: Iterator[LedgerRow], mirror: Mirror) -> None:
        self._rows, self._mirror = rows, mirror
        self.count = 0

    def __iter__(self) -> Iterator[LedgerRow]:
        for group in batched(self._rows, CHECKED):
            self._mirror.check()
            for row in group:
                self.count += 1
                yield row
