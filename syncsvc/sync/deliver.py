"""Delivering a plan: a window of concurrent requests, kind by kind; what fails does not stop the rest."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import structlog
from django.conf import settings

from syncsvc.delivery.answers import honours_retry_after, refuses_content
from syncsvc.delivery.payload import Origin, Payload, timestamp_text
from syncsvc.delivery.signing import Signer
from syncsvc.delivery.transport import Answer, Request, counts_for_circuit
from syncsvc.error_kinds import POLICIES
from syncsvc.exceptions import GitError
from syncsvc.git.blobs import BlobReader
from syncsvc.git.mirror import Mirror
from syncsvc.stopping import STOPPING
from syncsvc.sync.attempt_log import attempt_of, log_failure
from syncsvc.sync.cargo import Batch, Cargo, Parts, Refusal, Sent
from syncsvc.sync.circuit import EndpointCircuit
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.loading import Damaged, Loader, SharedBlobs
from syncsvc.sync.outbox import Outbox
from syncsvc.sync.ping import send_ping
from syncsvc.sync.rate import RATE
from syncsvc.sync.recorder import FEW, Recorder
from syncsvc.sync.spool import Spool
from syncsvc.sync.tally import Stop, Tally
from syncsvc.sync.throttle import EndpointThrottle
from syncsvc.sync.transports import TRANSPORTS
from syncsvc.sync.window import WINDOWS
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
CONFLICT = 409


class Delivery:
    """One run's sending. Everything in it is one thread's, except the recorder's own."""

    def __init__(
        self,
        job: Job,
        *,
        commit: str,
        mirror: Mirror,
        spool: Spool,
        circuit: EndpointCircuit,
        throttle: EndpointThrottle,
    ) -> None:
        self._job, self._mirror, self._spool, self._circuit, self._throttle = job, mirror, spool, circuit, throttle
        app, repository = job.app, job.repository
        origin = Origin(str(repository.id), repository.url, repository.branch or repository.head_branch)
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
        self._per_second = app.max_per_second
        self._timeout: float = app.request_timeout
        self._longest = self._timeout + LEASE_MARGIN
        self._resend_delays: tuple[float, ...] = settings.RESEND_DELAYS
        self._kinds_left = [kind for kind in ORDER if spool.counts[kind]]
        self._parts_open = 0
        self._places = 0
        self._permits_at = 0.0
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
                while self._kinds_left and not self.tally.stop:
                    self._deliver_kind(loader.cargo(self._kinds_left.pop(0)))
        finally:
            self._put_down()
            try:
                self._recorder.finish()
            finally:
                self._circuit.leave()
                self._throttle.leave()
        self.tally.probe_failed = self._circuit.probe_has_failed
        return self.tally

    def _put_down(self) -> None:
        """Drops what is on its way."""
        for request in self._transport.abort():
            request.tag.cargo.close()
        if self._few:
            TRANSPORTS.give_back(self._transport)
        else:  # it has as many connections as its window had places, which a small run has no use for
            self._transport.close()
        if self._places:
            WINDOWS.give_back(self._app_key, self._places, limit=self._limit)

    def _deliver_kind(self, cargo: Iterator[Cargo | Damaged]) -> None:
        outbox = Outbox(cargo, resend_delays=self._resend_delays)
        try:
            while True:
                self._fill_window(outbox)
                if not self._transport.in_flight:
                    if self.tally.stop or outbox.is_empty:
                        return
                    if self._has_no_other_message(outbox):
                        self._prove_by_ping()
                        continue
                    self._rest(outbox)
                for answer in self._transport.wait(LOOK_SECONDS):
                    self._answered(outbox, answer)
                self._look_around()
        finally:
            self._drop(outbox)

    def _rest(self, outbox: Outbox) -> None:
        """Nothing is on its way: waits for a place, a permit, a second chance or the end of a throttle."""
        now = time.monotonic()
        due_in = outbox.due_in(now) if outbox.has_nothing_new else None
        WINDOWS.wait(min(LOOK_SECONDS, *(wait for wait in (due_in, self._permits_at - now) if wait and wait > 0)))

    def _fill_window(self, outbox: Outbox) -> None:
        while not self.tally.stop and self._may_send():
            cargo = outbox.take(time.monotonic(), parts=self._parts_open < PARTS_OPEN)
            if cargo is None:
                return
            if isinstance(cargo, Damaged):
                self._damaged([cargo.change], cargo.error)
                continue
            if isinstance(cargo, Parts) and self._parts_open >= PARTS_OPEN:
                if outbox.put_aside(cargo):
                    continue
                return
            if self._circuit.probing and cargo.known_bad:
                outbox.put_back(cargo)
                self._probe_by_ping()
                continue
            if not self._take_place(cargo):
                outbox.put_back(cargo)
                return

    def _may_send(self) -> bool:
        if (self._circuit.probing or self._throttle.one_at_a_time) and self._transport.in_flight:
            return False
        if not self._job.lease.covers(self._longest):
            self._check_lease()
            return False
        return self._transport.in_flight < self._limit and self._throttle.may_send()

    def _take_place(self, cargo: Cargo) -> bool:
        """Sends where the app's window has a place and its limit a permit."""
        round = WINDOWS.take(self._app_key, limit=self._limit)
        if round is None:
            return False
        if self._per_second and (wait := RATE.take(self._app_key, self._per_second)):
            self._permits_at = time.monotonic() + wait
            WINDOWS.give_back(self._app_key, limit=self._limit)
            return False
        self._parts_open += isinstance(cargo, Parts)
        self._places += 1
        self._send(cargo, round)
        return True

    def _send(self, cargo: Cargo, round: int) -> None:
        now = time.time() + self._job.clock_offset
        at = datetime.fromtimestamp(now, UTC)
        try:
            webhook_id, body = cargo.request(self._payload, timestamp_text(at))
        except GitError as error:
            self._damaged(list(cargo.changes), error)
            self._done(cargo)
            return
        headers = self._signer.headers(webhook_id, int(now), body)
        sent = Sent(cargo, round, at)
        # The probe asks where the name leads now, not a connection from before.
        fresh = self._circuit.probing
        self._transport.send(Request(webhook_id, self._url, headers, body, self._timeout, sent, fresh))

    def _answered(self, outbox: Outbox, answer: Answer[Sent]) -> None:
        cargo, kind = answer.request.tag.cargo, answer.error_kind
        self.tally.requests += len(answer.earlier) + 1
        for each in (*answer.earlier, answer):
            self._log(cargo, each)
        if kind is None:
            self._acknowledged(outbox, answer.request.tag)
        elif answer.status is not None and honours_retry_after(answer.status):
            self._throttled(outbox, answer)
        else:
            self._judge(outbox, cargo, answer)
            self._refused(outbox, cargo, answer, kind)

    def _acknowledged(self, outbox: Outbox, sent: Sent) -> None:
        cargo, tally = sent.cargo, self.tally
        self._circuit.answered()
        self._throttle.acknowledged(sent.at)
        self._take_stop_back()
        WINDOWS.acknowledged(self._app_key, limit=self._limit)
        cargo.acknowledge()
        if cargo.finished:
            tally.delivered += len(cargo.changes)
            tally.content_bytes += cargo.content_bytes
            self._recorder.acknowledged(cargo.changes)
            self._done(cargo)
        elif tally.stop or not self._job.lease.covers(self._longest):
            # An unfinished file starts again at its first part: by another worker, where this one loses its lease.
            tally.stop = tally.stop or Stop.SHUTDOWN
            self._done(cargo)
        else:  # the next part, in its turn
            self._leave(cargo)
            outbox.put_back(cargo)

    def _judge(self, outbox: Outbox, cargo: Cargo, answer: Answer[Sent]) -> None:
        """Says what an answer means for the endpoint as a whole."""
        if not counts_for_circuit(answer):
            self._circuit.answered()
            self._take_stop_back()
            return
        suspected = self._circuit.suspects
        self._circuit.failed(cargo.changes[0].path)
        if self._circuit.opened:
            self.tally.stop = self.tally.stop or Stop.CIRCUIT
        elif self._circuit.suspects and not suspected:
            outbox.spread()

    def _take_stop_back(self) -> None:
        """The endpoint is not down, or takes requests again: the run goes on."""
        if self.tally.stop is Stop.CIRCUIT and not self._circuit.opened:
            self.tally.stop = None
        if self.tally.stop is Stop.THROTTLED and self._throttle.may_send():
            self.tally.stop = None

    def _throttled(self, outbox: Outbox, answer: Answer[Sent]) -> None:
        """The message has not failed: it is the next one again, when the wait is over."""
        sent = answer.request.tag
        self.tally.throttle_error = answer.error
        new_round = WINDOWS.refused(self._app_key, sent.round)
        self._leave(sent.cargo)
        outbox.put_back(sent.cargo)
        if new_round or answer.retry_after is not None:
            self._throttle.refused(answer.retry_after)
        if not counts_for_circuit(answer):
            self._circuit.answered()
        elif new_round:
            self._circuit.failed(f"round {sent.round} of {self._job.run_id}".encode())
            if self._circuit.opened:
                self.tally.stop = self.tally.stop or Stop.CIRCUIT

    def _refused(self, outbox: Outbox, cargo: Cargo, answer: Answer[Sent], kind: ErrorKind) -> None:
        cargo.refusal = Refusal(kind, answer.error)
        if POLICIES[kind].stops_run:
            self.tally.stop = self.tally.stop or Stop.FAILURE
        elif not self.tally.stop and self._has_another_chance(outbox, cargo, answer, kind):
            self._leave(cargo)
            return
        self.tally.fail(kind, answer.error, list(cargo.changes))
        self._done(cargo)

    def _has_another_chance(self, outbox: Outbox, cargo: Cargo, answer: Answer[Sent], kind: ErrorKind) -> bool:
        """Sends it again later in this run, as it is or file by file; False where it has failed."""
        policy = POLICIES[kind]
        if isinstance(cargo, Parts) and answer.status == CONFLICT and cargo.failures and not cargo.has_restarted:
            cargo.restart()
            outbox.put_back(cargo)
            return True
        # While nothing else has succeeded, an endpoint that does not answer is not asked again.
        worth_it = kind is not ErrorKind.ENDPOINT_TIMEOUT or self.tally.delivered > 0
        if isinstance(cargo, Batch) and len(cargo.singles) > 1:
            if policy.resent_in_run and worth_it and not cargo.failures and outbox.send_again(cargo, time.monotonic()):
                return True
            if policy.resent_in_run or (answer.status is not None and refuses_content(answer.status)):
                outbox.put_first(cargo.split())
                return True
        return policy.resent_in_run and worth_it and outbox.send_again(cargo, time.monotonic())

    def _has_no_other_message(self, outbox: Outbox) -> bool:
        """The endpoint may be down, and no message is left that could tell."""
        return self._circuit.suspects and outbox.has_nothing_new and not self._kinds_left

    def _prove_by_ping(self) -> None:
        if self._ping():
            self._circuit.answered()
        else:
            self._circuit.believe()
            self.tally.stop = self.tally.stop or (Stop.CIRCUIT if self._circuit.opened else None)

    def _probe_by_ping(self) -> None:
        """The probe of an open circuit is a message that is not known to be bad."""
        if self._ping():
            self._circuit.answered()
        else:
            self._circuit.probe_failed()
            self.tally.stop = self.tally.stop or Stop.CIRCUIT

    def _ping(self) -> bool:
        answer = send_ping(self._job.app, self._job.now())
        self.tally.requests += 1
        self._recorder.attempted(attempt_of(answer, kind="ping", path=None, files=0))
        return answer.error_kind is None

    def _damaged(self, changes: list[Change], error: GitError) -> None:
        self.tally.damaged = True
        self.tally.fail(error.kind, str(error), changes)

    def _drop(self, outbox: Outbox) -> None:
        """Messages that waited for a second chance have failed; others were not sent."""
        for cargo in outbox.drop():
            if cargo.refusal is not None:
                self.tally.fail(cargo.refusal.kind, cargo.refusal.error, list(cargo.changes))
            cargo.close()

    def _done(self, cargo: Cargo) -> None:
        cargo.close()
        self._leave(cargo)

    def _leave(self, cargo: Cargo) -> None:
        """It is not on its way any more."""
        self._parts_open -= isinstance(cargo, Parts)
        self._places -= 1
        WINDOWS.give_back(self._app_key, limit=self._limit)

    def _log(self, cargo: Cargo, answer: Answer[Sent]) -> None:
        path = cargo.changes[0].path if len(cargo.changes) == 1 else None
        self._recorder.attempted(attempt_of(answer, kind=cargo.kind, path=path, files=len(cargo.changes)))
        if answer.error_kind is not None:
            log_failure(self._job, answer, path)

    def _look_around(self) -> None:
        self._check_lease()
        self._recorder.flush_if_due()
        self._circuit.flush_if_due()
        if throttled := self._throttle.ends_run():
            self.tally.throttled = throttled
            self.tally.stop = self.tally.stop or Stop.THROTTLED
        if STOPPING.is_set():
            self.tally.stop = self.tally.stop or Stop.SHUTDOWN
            self._stop_by = self._stop_by or time.monotonic() + settings.STOP_SECONDS
            if time.monotonic() > self._stop_by:
                for request in self._transport.abort():
                    self._done(request.tag.cargo)

    def _check_lease(self) -> None:
        if self._job.lease.lost.is_set() or not self._job.lease.covers(0):
            raise LeaseLostError
