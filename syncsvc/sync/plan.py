"""Planning a run: every change is found and spooled before the first request."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from syncsvc.git.manifest import read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.models import Snapshot
from syncsvc.store import ledger
from syncsvc.sync.changes import from_ledger, from_trees
from syncsvc.sync.job import Job
from syncsvc.sync.snapshots import difference
from syncsvc.sync.spool import Spool
from syncsvc.types import Change, ChangeKind, LedgerRow


@dataclass(frozen=True, slots=True)
class Plan:
    """`known` is how many files the app had by the ledger."""

    known: int
    deletes: int

    @property
    def deletes_too_much(self) -> bool:
        return (
            self.known > settings.MASS_DELETE_MINIMUM and self.deletes * 100 > self.known * settings.MASS_DELETE_PERCENT
        )


def make_plan(job: Job, mirror: Mirror, snapshot: Snapshot, spool: Spool) -> Plan:
    """Fills the spool with what the app must be told to have this snapshot. The mirror must be held for reading."""
    clean = job.subscription.clean_snapshot if job.subscription.ledger_is_clean else None
    if clean is not None and clean.id == snapshot.id:
        return Plan(known=clean.files, deletes=0)
    if clean is not None and mirror.has_commit(clean.commit):
        _spool(_since(job.repository.id, mirror, clean, snapshot), spool)
        return Plan(known=clean.files, deletes=spool.counts[ChangeKind.DELETED])
    rows = _Counted(ledger.rows(job.subscription.id))
    _spool(from_ledger(read_manifest(mirror, snapshot.commit), rows, epoch=job.epoch), spool)
    return Plan(known=rows.count, deletes=spool.counts[ChangeKind.DELETED])


def _spool(changes: Iterator[Change], spool: Spool) -> None:
    for change in changes:
        spool.add(change)


def _since(repository_id: uuid.UUID, mirror: Mirror, clean: Snapshot, snapshot: Snapshot) -> Iterator[Change]:
    found = difference(repository_id, mirror, clean.commit, snapshot.commit)
    return from_trees((change, size) for change, _, size in found)


class _Counted:
    """Counts the ledger's rows while they go by."""

    def __init__(self, rows: Iterator[LedgerRow]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[LedgerRow]:
        for row in self._rows:
            self.count += 1
            yield row
