"""Delivering a plan: a window of concurrent requests, kind by kind; what fails does not stop the rest."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

import structlog
from django.conf import settings

from syncsvc.delivery.payload import Origin, Payload, timestamp_text
from syncsvc.delivery.signing import Signer
from syncsvc.delivery.transport import Answer, Request
from syncsvc.exceptions import GitError
from syncsvc.git.blobs import BlobReader
from syncsvc.git.mirror import Mirror
from syncsvc.models.attempt import Attempt
from syncsvc.stopping import STOPPING
from syncsvc.sync.cargo import Batch, Cargo, Parts
from syncsvc.sync.circuit import EndpointCircuit
from syncsvc.sync.in_flight import IN_FLIGHT
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.loading import Damaged, Loader, SharedBlobs
from syncsvc.sync.recorder import FEW, Recorder
from syncsvc.sync.spool import Spool
from syncsvc.sync.supply import Supply
from syncsvc.sync.transports import TRANSPORTS
from syncsvc.types import Change, ChangeKind, ErrorKind

logger = structlog.get_logger(__name__)

ORDER = (ChangeKind.DELETED, ChangeKind.CREATED, ChangeKind.UPDATED)
# Big files on their way at once: each has a git and a part in memory.
PARTS_OPEN = 2
# How often a run looks whether it should stop.
LOOK_SECONDS = 0.25
LEASE_MARGIN = 1.0
# With no more changes than FEW, and no more bytes than this, a run is a small one: it reads and records as it goes.
FEW_BYTES = 1024 * 1024


class Stop(Enum):
    """Why a run sends nothing more."""

    CIRCUIT = auto()
    THROTTLED = auto()
    GONE = auto()
    FORBIDDEN = auto()
    SHUTDOWN = auto()


STOPPED_BY = {
    ErrorKind.ENDPOINT_THROTTLED: Stop.THROTTLED,
    ErrorKind.ENDPOINT_GONE: Stop.GONE,
    ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS: Stop.FORBIDDEN,
}
# Answers that say nothing against a batch as such.
NOT_ABOUT_THE_BATCH = {410, 429, 503}


@dataclass(slots=True)
class Tally:
    """What came of a delivery so far. `first` is the first failure: its kind, what it says, and which path."""

    delivered: int = 0
    failed: int = 0
    requests: int = 0
    content_bytes: int = 0
    kind: ErrorKind | None = None
    error: str = ""
    path: bytes | None = None
    retry_after: float | None = None
    damaged: bool = False
    stop: Stop | None = None

    def fail(self, kind: ErrorKind, error: str, changes: Sequence[Change]) -> None:
        self.failed += len(changes)
        # What stops the run says more than what came before.
        if self.kind is None or kind in STOPPED_BY:
            self.kind, self.error, self.path = kind, error, changes[0].path if changes else None


class Delivery:
    """One run's sending. Everything in it is one thread's, except the recorder's own."""

    def __init__(self, job: Job, *, commit: str, mirror: Mirror, spool: Spool, circuit: EndpointCircuit) -> None:
        self._job, self._mirror, self._spool, self._circuit = job, mirror, spool, circuit
        app, repository = job.app, job.repository
        origin = Origin(str(repository.id), repository.url, repository.shown_branch)
        self._payload = Payload(origin, commit, str(job.run_id))
        self._signer = Signer(app.signing_secrets(job.started_at))
        self._few = len(spool) <= FEW and spool.bytes <= FEW_BYTES
        self._recorder = Recorder(
            subscription_id=job.subscription.id,
            run_id=job.run_id,
            epoch=job.epoch,
            lease=job.lease,
            few=self._few,
        )
        self._transport = TRANSPORTS.take()
        # Looked up once: each of these is asked for several times a request.
        self._url, self._limit, self._app_key = app.url, app.max_in_flight, str(app.id)
        self._timeout: float = settings.WEBHOOK_TIMEOUT
        self._longest = self._timeout + LEASE_MARGIN
        self._one_by_one: deque[Cargo | Damaged] = deque()
        self._parts_open = 0
        self._places = 0
        self._stop_by = 0.0
        self.tally = Tally()

    def deliver(self) -> Tally:
        """Sends what the spool has. Whatever ends it, what was acknowledged is recorded.

        LeaseLostError: somebody else may run this subscription now; nothing more was sent or written.
        """
        try:
            with BlobReader(self._mirror) as reader:
                loader = Loader(
                    spool=self._spool,
                    mirror=self._mirror,
                    blobs=SharedBlobs(reader, self._job.repository.id) if self._few else reader,
                    recorder=self._recorder,
                    payload=self._payload,
                    max_batch=self._job.app.max_batch,
                )
                for kind in ORDER:
                    if self._spool.counts[kind] and not self.tally.stop:
                        self._deliver_kind(loader.cargo(kind))
        finally:
            self._put_down()
            try:
                self._recorder.finish()
            finally:
                self._circuit.leave()
        return self.tally

    def _put_down(self) -> None:
        """Drops what is on its way, or was made ready and never sent."""
        on_their_way = [request.tag for request in self._transport.abort()]
        for cargo in (*on_their_way, *self._one_by_one):
            if not isinstance(cargo, Damaged):
                cargo.close()
        if self._few:
            TRANSPORTS.give_back(self._transport)
        else:  # it has as many connections as its window had places, which a small run has no use for
            self._transport.close()
        if self._places:
            IN_FLIGHT.give_back(self._app_key, self._places)

    def _deliver_kind(self, cargo: Iterator[Cargo | Damaged]) -> None:
        supply = Supply(cargo, self._one_by_one)
        while True:
            self._fill_window(supply)
            if not self._transport.in_flight:
                if self.tally.stop or supply.empty:
                    return
                IN_FLIGHT.wait(LOOK_SECONDS)  # other runs have the whole window
            for answer in self._transport.wait(LOOK_SECONDS):
                self._answered(answer)
            self._look_around()

    def _fill_window(self, supply: Supply) -> None:
        while not self.tally.stop and self._may_send():
            cargo = supply.take(parts=self._parts_open < PARTS_OPEN)
            if cargo is None:
                return
            if isinstance(cargo, Damaged):
                self._damaged([cargo.change], cargo.error)
                continue
            if isinstance(cargo, Parts) and self._parts_open >= PARTS_OPEN:
                if supply.put_aside(cargo):
                    continue
                return
            if not IN_FLIGHT.take(self._app_key, limit=self._limit):
                supply.put_back(cargo)
                return
            self._parts_open += isinstance(cargo, Parts)
            self._places += 1
            self._send(cargo)

    def _may_send(self) -> bool:
        if self._circuit.probing and self._transport.in_flight:
            return False
        if not self._job.lease.covers(self._longest):
            self._check_lease()
            return False
        return self._transport.in_flight < self._limit

    def _send(self, cargo: Cargo) -> None:
        now = time.time() + self._job.clock_offset
        try:
            webhook_id, body = cargo.next_request(self._payload, timestamp_text(datetime.fromtimestamp(now, UTC)))
        except GitError as error:
            self._damaged(list(cargo.changes), error)
            self._done(cargo)
            return
        headers = self._signer.headers(webhook_id, int(now), body)
        self._transport.send(Request(webhook_id, self._url, headers, body, self._timeout, cargo))

    def _answered(self, answer: Answer) -> None:
        cargo: Cargo = answer.request.tag
        tally = self.tally
        tally.requests += 1
        self._log(cargo, answer)
        self._circuit.note(answer)
        if self._circuit.opened:
            tally.stop = tally.stop or Stop.CIRCUIT
        if answer.error_kind is not None:
            self._not_acknowledged(cargo, answer)
            self._done(cargo)
        elif cargo.finished:
            tally.delivered += len(cargo.changes)
            tally.content_bytes += cargo.content_bytes
            self._recorder.acknowledged(cargo.changes)
            self._done(cargo)
        elif tally.stop or not self._job.lease.covers(self._longest):
            # An unfinished file starts again at its first part: by another worker, where this one loses its lease.
            tally.stop = tally.stop or Stop.SHUTDOWN
            self._done(cargo)
        else:
            self._send(cargo)

    def _not_acknowledged(self, cargo: Cargo, answer: Answer) -> None:
        status = answer.status or 0
        refused = status >= 400 and status not in NOT_ABOUT_THE_BATCH
        if refused and isinstance(cargo, Batch) and len(cargo.singles) > 1 and not self.tally.stop:
            self._one_by_one.extend(cargo.singles)
            return
        if answer.error_kind is None:
            return
        self.tally.fail(answer.error_kind, answer.error, list(cargo.changes))
        self.tally.stop = self.tally.stop or STOPPED_BY.get(answer.error_kind)
        if answer.retry_after is not None:
            self.tally.retry_after = max(answer.retry_after, self.tally.retry_after or 0)

    def _damaged(self, changes: list[Change], error: GitError) -> None:
        self.tally.damaged = True
        self.tally.fail(error.kind, str(error), changes)

    def _done(self, cargo: Cargo) -> None:
        cargo.close()
        self._parts_open -= isinstance(cargo, Parts)
        self._places -= 1
        IN_FLIGHT.give_back(self._app_key)

    def _log(self, cargo: Cargo, answer: Answer) -> None:
        path = cargo.changes[0].path if len(cargo.changes) == 1 else None
        kind = answer.error_kind
        self._recorder.attempted(
            Attempt(
                webhook_id=answer.request.webhook_id,
                kind=cargo.kind,
                path=path,
                files=len(cargo.changes),
                status=answer.status,
                error_kind=kind or "",
                error=answer.error,
                milliseconds=int(answer.seconds * 1000),
                answer=answer.body,
            )
        )
        if kind is not None:
            logger.warning(
                "attempt.failed",
                run=str(self._job.run_id),
                subscription=str(self._job.subscription.id),
                app=self._job.app.name,
                repository=self._job.repository.name,
                webhook_id=answer.request.webhook_id,
                path=path and path.decode(errors="backslashreplace"),
                status=answer.status,
                error_kind=kind.value,
                milliseconds=int(answer.seconds * 1000),
            )

    def _look_around(self) -> None:
        self._check_lease()
        self._recorder.flush_if_due()
        self._circuit.flush_if_due()
        if STOPPING.is_set():
            self.tally.stop = self.tally.stop or Stop.SHUTDOWN
            self._stop_by = self._stop_by or time.monotonic() + settings.STOP_SECONDS
            if time.monotonic() > self._stop_by:
                for request in self._transport.abort():
                    self._done(request.tag)

    def _check_lease(self) -> None:
        if self._job.lease.lost.is_set() or not self._job.lease.covers(0):
            raise LeaseLostError
