"""Writes a run's ledger and its log of requests, in groups: beside the sending, in a thread of its own."""

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection, transaction

from syncsvc.store import ledger
from syncsvc.store.attempts import Attempt, log_attempts
from syncsvc.store.runs import RunCounts, note_counts
from syncsvc.sync.lease import Lease, LeaseLostError
from syncsvc.sync.outage import through_outage
from syncsvc.sync.spool import GROUP
from syncsvc.types import Change

# Acknowledgements wait at most so long for company.
FLUSH_SECONDS = 1.0
# So many files are few: their marks and acknowledgements take a statement each, and nobody waits for long.
FEW = 20


class Here:
    """Writes at once, in the thread that sends: for a run of a few files a thread and its connection cost more."""

    def submit(self, call: Callable[[], None]) -> "Future[None]":
        done: Future[None] = Future()
        try:
            call()
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)  # met by whoever asks for the result, as with a thread
        return done


class Recorder:
    """One thread, so that a change's mark is always written before its acknowledgement.

    A statement that meets a database which is away is tried again for as long as the lease can be ours. With `few`,
    for a run of a few files, it writes in the thread that sends.
    """

    def __init__(
        self, *, subscription_id: uuid.UUID, run_id: uuid.UUID, epoch: int, lease: Lease, few: bool = False
    ) -> None:
        self._subscription_id, self._run_id, self._epoch, self._lease = subscription_id, run_id, epoch, lease
        self._thread = None if few else ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._here = Here()
        self._acknowledged: list[Change] = []
        self._attempts: list[Attempt] = []
        self._last_flush = time.monotonic()
        self._writes: list[Future[None]] = []
        # The counts that the run's row shows, and when they were written.
        self._noted, self._noted_at = RunCounts(), self._last_flush

    def mark_in_doubt(self, changes: Sequence[Change]) -> "Future[None]":
        """Starts marking changes that are about to be sent; wait for the result before sending any."""
        return self._submit(lambda: self._mark(changes))

    def attempted(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)

    def acknowledged(self, changes: Sequence[Change]) -> None:
        self._acknowledged.extend(changes)

    def flush_if_due(self, counts: RunCounts) -> None:
        """Starts writing what has gathered where it is a group or a second old, and each second how far the run is."""
        due = len(self._acknowledged) >= GROUP or len(self._attempts) >= GROUP
        if due or time.monotonic() - self._last_flush >= FLUSH_SECONDS:
            self._flush()
        if counts != self._noted and time.monotonic() - self._noted_at >= FLUSH_SECONDS:
            self._noted, self._noted_at = counts, time.monotonic()
            self._writes.append(self._submit(lambda: note_counts(self._run_id, counts)))

    def write_out(self) -> None:
        """Returns when everything that was acknowledged so far is written. LeaseLostError as `finish`."""
        self._flush()
        for write in self._writes:
            write.result()

    def finish(self) -> None:
        """Writes the rest and ends the thread. LeaseLostError where any write found the lease gone."""
        self._flush()
        if self._thread is not None:
            self._thread.submit(lambda: connection.close())  # there: each thread has a connection of its own
            self._thread.shutdown()
        for write in self._writes:
            write.result()

    def _flush(self) -> None:
        self._last_flush = time.monotonic()
        self._writes = [write for write in self._writes if not write.done() or write.exception()]
        if self._attempts or self._acknowledged:
            acknowledged, self._acknowledged = self._acknowledged, []
            attempts, self._attempts = self._attempts, []
            self._writes.append(self._submit(lambda: self._record(acknowledged, attempts)))

    def _mark(self, changes: Sequence[Change]) -> None:
        if not ledger.mark_in_doubt(self._subscription_id, changes, lease_token=self._lease.token, epoch=self._epoch):
            self._lease_is_gone()

    def _record(self, acknowledged: Sequence[Change], attempts: Sequence[Attempt]) -> None:
        if self._thread is None and len(attempts) <= FEW:
            held = ledger.acknowledge_and_log(
                self._subscription_id,
                acknowledged,
                attempts,
                run_id=self._run_id,
                lease_token=self._lease.token,
                epoch=self._epoch,
            )
        else:
            held = self._record_many(acknowledged, attempts)
        if not held and acknowledged:
            self._lease_is_gone()

    def _record_many(self, acknowledged: Sequence[Change], attempts: Sequence[Attempt]) -> bool:
        held = True
        with transaction.atomic():
            if acknowledged:
                held = ledger.acknowledge(
                    self._subscription_id, acknowledged, lease_token=self._lease.token, epoch=self._epoch
                )
            log_attempts(self._subscription_id, self._run_id, attempts)
        return held

    def _lease_is_gone(self) -> None:
        self._lease.lost.set()
        raise LeaseLostError

    def _submit(self, write: Callable[[], None]) -> "Future[None]":
        return (self._thread or self._here).submit(lambda: through_outage(self._lease, write))
