"""Delivering a plan: a window of concurrent requests, kind by kind; what fails does not stop the rest."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import structlog
from django.conf import settings

from syncsvc.delivery.payload import Origin, Payload, SendingTimes
from syncsvc.delivery.signing import Signer
from syncsvc.delivery.transport import Answer, Request
from syncsvc.error_kinds import POLICIES
from syncsvc.exceptions import GitError
from syncsvc.git.blobs import BlobReader
from syncsvc.git.mirror import Mirror
from syncsvc.models import App
from syncsvc.stopping import STOPPING
from syncsvc.store.looks import Look
from syncsvc.store.moves import note_old_url
from syncsvc.sync.attempt_log import attempt_of, given_up, log_failure
from syncsvc.sync.begun import BegunFiles
from syncsvc.sync.cargo import Cargo, Parts, Ping, Sent
from syncsvc.sync.circuit import EndpointCircuit
from syncsvc.sync.job import Job
from syncsvc.sync.judgement import Judgement
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.loading import Damaged, Loader, SharedBlobs
from syncsvc.sync.outage import through_outage
from syncsvc.sync.outbox import Outbox
from syncsvc.sync.places import Places
from syncsvc.sync.recorder import FEW, Recorder
from syncsvc.sync.spool import Spool
from syncsvc.sync.tally import Stop, Tally
from syncsvc.sync.throttle import EndpointThrottle
from syncsvc.sync.transports import TRANSPORTS
from syncsvc.sync.watch import RunEndsError
from syncsvc.types import Change, ChangeKind

logger = structlog.get_logger(__name__)

ORDER = (ChangeKind.DELETED, ChangeKind.CREATED, ChangeKind.UPDATED)
# How often a run looks whether it should stop.
LOOK_SECONDS = 0.25
LEASE_MARGIN = 1.0
# Seconds that a run which an operator ends waits for answers to the requests that are on their way.
END_SECONDS = 5.0
# With no more changes than FEW, and no more bytes than this, a run is a small one: it reads and records as it goes.
FEW_BYTES = 1024 * 1024


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
        origin = Origin(str(repository.id), repository.url, repository.shown_branch)
        self._payload, self._times = Payload(origin, commit, str(job.run_id), app_id=str(app.id)), SendingTimes()
        self._secrets = app.sealed_secrets(job.started_at)
        self._signer = Signer([secret.reveal() for secret in self._secrets])
        self._authentication, self._headers = app.authentication, app.header_lines()
        self._seen: Look | None = None
        self._few = len(spool) <= FEW and spool.bytes <= FEW_BYTES
        self._recorder = Recorder(
            subscription_id=job.subscription.id,
            run_id=job.run_id,
            epoch=job.epoch,
            lease=job.lease,
            few=self._few,
        )
        self._transport = TRANSPORTS.take(app.tls_terms())
        self.tally = Tally()
        # Looked up once: each of these is asked for several times a request.
        self._url = self.tally.url = app.url
        self._timeout: float = app.request_timeout
        self._longest = self._timeout + LEASE_MARGIN
        self._resend_delays: tuple[float, ...] = settings.RESEND_DELAYS
        self._loader: Loader | None = None
        self._kinds_left = [kind for kind in ORDER if spool.counts[kind]]
        self._stop_by = 0.0
        self._places = Places(app)
        self._begun = BegunFiles(app.url, part_bytes=settings.CONTENT_CHUNK_BYTES)
        self._judgement = Judgement(
            job,
            tally=self.tally,
            places=self._places,
            spool=spool,
            recorder=self._recorder,
            circuit=circuit,
            throttle=throttle,
            begun=self._begun,
        )

    def deliver(self) -> Tally:
        """Sends what the spool has. Whatever ends it, what was acknowledged is recorded.

        LeaseLostError: somebody else may run this subscription now; nothing more was sent or written.
        """
        try:
            with BlobReader(self._mirror) as reader:
                self._loader = loader = Loader(
                    spool=self._spool,
                    mirror=self._mirror,
                    blobs=SharedBlobs(reader, self._job.repository.id) if self._few else reader,
                    recorder=self._recorder,
                    payload=self._payload,
                    max_batch=self._job.app.max_batch,
                    begun=self._begun,
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
        self.tally.conclude()
        return self.tally

    def _put_down(self) -> None:
        for cargo in self._abort():
            cargo.close()
        if self._few:
            TRANSPORTS.give_back(self._transport)
        else:  # it has as many connections as its window had places, which a small run has no use for
            self._transport.close()
        self._places.leave_all()

    def _deliver_kind(self, cargo: Iterator[Cargo | Damaged]) -> None:
        outbox = Outbox(cargo, resend_delays=self._resend_delays)
        try:
            while True:
                self._follow_changes(outbox)
                self._fill_window(outbox)
                if not self._transport.in_flight and not self._goes_on(outbox):
                    return
                for answer in self._transport.wait(self._pause(outbox)):
                    self._answered(outbox, answer)
                self._look_around()
        finally:
            self._judgement.drop(outbox)

    def _goes_on(self, outbox: Outbox) -> bool:
        """Nothing is on its way: False where nothing is left, or the run stops."""
        if self.tally.stop:
            return False
        if self._has_no_other_message(outbox):
            self._judgement.ask(outbox)
        elif outbox.is_empty:
            return False
        else:
            self._places.wait(self._pause(outbox))
        return True

    def _pause(self, outbox: Outbox) -> float:
        """Seconds until more may be sent though no answer came: by a second chance, a permit, the end of a wait."""
        now = time.monotonic()
        waits = (outbox.due_in(now) or 0.0, self._places.permit_in, self._throttle.remaining)
        return min([LOOK_SECONDS, *(wait for wait in waits if wait > 0)])

    def _fill_window(self, outbox: Outbox) -> None:
        try:
            self._send_what_may_go(outbox)
        except RunEndsError:  # git was ended; answers to what is on its way still count
            self._end_early()

    def _send_what_may_go(self, outbox: Outbox) -> None:
        while not self.tally.stop and self._may_send(outbox):
            cargo = outbox.take(time.monotonic(), parts=self._places.takes_parts)
            if cargo is None:
                return
            if isinstance(cargo, Damaged):
                self._damaged([cargo.change], cargo.error)
                continue
            if isinstance(cargo, Parts) and not self._places.takes_parts:
                if outbox.put_aside(cargo):
                    continue
                return
            if self._circuit.probing and cargo.known_bad:
                outbox.put_back(cargo)
                self._judgement.ask(outbox)
                continue
            round = self._places.take(cargo)
            if round is None:
                outbox.put_back(cargo)
                return
            self._send(cargo, round)

    def _may_send(self, outbox: Outbox) -> bool:
        alone = self._circuit.probing or self._throttle.one_at_a_time or outbox.is_asking
        if alone and self._transport.in_flight:
            return False
        if not self._job.lease.covers(self._longest):
            self._check_lease()
            return False
        return self._transport.in_flight < self._places.limit and self._throttle.may_send()

    def _send(self, cargo: Cargo, round: int) -> None:
        now = time.time() + self._job.clock_offset
        at = datetime.fromtimestamp(now, UTC)
        try:
            webhook_id, body = cargo.request(self._payload, self._times.text(now))
        except GitError as error:
            self._damaged(list(cargo.changes), error)
            self._judgement.cannot_go_on(cargo)
            return
        except RunEndsError:
            self._judgement.done(cargo)
            raise
        headers = self._signer.headers(webhook_id, int(now), body)
        if self._headers:
            headers += self._headers
        sent = Sent(cargo, round, at)
        # A probe, or a question, asks where the name leads now, not a connection from before.
        fresh = self._circuit.probing or isinstance(cargo, Ping)
        self._transport.send(Request(webhook_id, self._url, headers, body, self._timeout, sent, fresh))

    def _answered(self, outbox: Outbox, answer: Answer[Sent]) -> None:
        self.tally.requests += len(answer.earlier) + 1
        for each in (*answer.earlier, answer):
            self._log(answer.request.tag.cargo, each)
        self._judgement.take(outbox, answer)

    def _has_no_other_message(self, outbox: Outbox) -> bool:
        """The endpoint may be down, and no message is left that could tell."""
        if outbox.is_asking:
            return False
        suspects = self._circuit.suspects and outbox.has_nothing_new and not self._kinds_left
        return suspects or outbox.needs_proof

    def _damaged(self, changes: list[Change], error: GitError) -> None:
        self.tally.damaged |= POLICIES[error.kind].suspects_mirror
        self.tally.fail(error.kind, str(error), changes)

    def _log(self, cargo: Cargo, answer: Answer[Sent]) -> None:
        path = cargo.changes[0].path if len(cargo.changes) == 1 else None
        self._recorder.attempted(attempt_of(answer, kind=cargo.kind, path=path, files=len(cargo.changes)))
        if answer.error_kind is not None:
            log_failure(self._job, answer, path)

    def _follow_changes(self, outbox: Outbox) -> None:
        """Takes over what was changed since the last look: a stop, a pause, another URL, secrets, headers, limits."""
        seen = self._job.watched.latest
        if seen is None or seen is self._seen:
            return
        self._seen, app = seen, seen.app
        if self._job.watched.must_end:
            self._end_early()
        if app.url != self._url:
            self._move(outbox, app)
        elif seen.throttled is not None:
            self._throttle.met_by_another(seen.throttled)
        secrets = app.sealed_secrets(self._job.now())
        if [secret.token for secret in secrets] != [secret.token for secret in self._secrets]:
            self._secrets, self._signer = secrets, Signer([secret.reveal() for secret in secrets])
        if app.authentication != self._authentication:
            self._authentication, self._headers = app.authentication, app.header_lines()
            self._transport.use(app.tls_terms())
        self._places.follow(app)
        if self._loader is not None:
            self._loader.max_batch = app.max_batch
        self._timeout = app.request_timeout
        self._longest = self._timeout + LEASE_MARGIN

    def _move(self, outbox: Outbox, app: App) -> None:
        """Goes on at another URL: requests to the old one are aborted, and are in doubt until the new one has them."""
        for cargo in self._abort("the app has another URL by now"):
            if isinstance(cargo, Parts):
                cargo.restart()
            self._places.leave(cargo)
            outbox.put_back(cargo)
        outbox.restart_parts()
        self._recorder.write_out()
        through_outage(self._job.lease, lambda: note_old_url(self._job.subscription.id))
        self._url = self.tally.url = app.url
        self._judgement.forget(app.url)
        self._begun.move(app.url)

    def _end_early(self) -> None:
        """Sends nothing more: the run is told to end. What has stopped it before stays the reason."""
        watched = self._job.watched
        if watched.is_stopped:
            stop = Stop.STOPPED
        elif watched.has_other_remote:
            stop = Stop.OTHER_REMOTE
        else:
            stop = Stop.PAUSED if watched.must_end else Stop.SHUTDOWN
        self.tally.stop = self.tally.stop or stop

    def _abort(self, because: str = "the run has ended") -> list[Cargo]:
        """Drops what is on its way. The endpoint may have acted on it: the log of attempts has it."""
        aborted = self._transport.abort()
        if self._job.lease.covers(0):
            now = self._job.now()
            for request in aborted:
                sent = request.tag
                self.tally.requests += 1
                self._log(sent.cargo, given_up(request, (now - sent.at).total_seconds(), because))
        return [request.tag.cargo for request in aborted]

    def _look_around(self) -> None:
        self._check_lease()
        self._job.watched.requests = self.tally.requests
        self._recorder.flush_if_due(self.tally.counts)
        self._circuit.flush_if_due()
        if throttled := self._throttle.ends_run():
            self.tally.throttled = throttled
            self.tally.stop = self.tally.stop or Stop.THROTTLED
        # Each run gets something across, however big its files are.
        if self._job.turn.is_over and self.tally.delivered:
            self.tally.stop = self.tally.stop or Stop.HANDS_OVER
        is_told = self._job.watched.must_end
        if is_told or STOPPING.is_set():
            self._end_early()
            longest: float = settings.STOP_SECONDS
            self._stop_by = self._stop_by or time.monotonic() + (min(END_SECONDS, longest) if is_told else longest)
            if time.monotonic() > self._stop_by:
                for cargo in self._abort("the run was to end"):
                    self._judgement.done(cargo)

    def _check_lease(self) -> None:
        if self._job.lease.lost.is_set() or not self._job.lease.covers(0):
            raise LeaseLostError
