"""What an endpoint's answers mean: for the message that was sent, for the run, and for the endpoint as a whole."""

import time

from syncsvc.delivery.answers import honours_retry_after
from syncsvc.delivery.transport import Answer, counts_for_circuit
from syncsvc.error_kinds import POLICIES, Fault
from syncsvc.sync.begun import BegunFiles
from syncsvc.sync.cargo import Cargo, Parts, Ping, Refusal, Sent
from syncsvc.sync.circuit import EndpointCircuit
from syncsvc.sync.job import Job
from syncsvc.sync.outbox import Outbox
from syncsvc.sync.places import Places
from syncsvc.sync.recorder import Recorder
from syncsvc.sync.second_chance import has_another_chance
from syncsvc.sync.spool import Spool
from syncsvc.sync.tally import Stop, Tally
from syncsvc.sync.throttle import EndpointThrottle
from syncsvc.types import ErrorKind

# The run goes on later: these say nothing about the messages.
NO_JUDGEMENT = (
    *(Stop.SHUTDOWN, Stop.PAUSED, Stop.STOPPED, Stop.OTHER_REMOTE),
    *(Stop.HANDS_OVER, Stop.THROTTLED),
)


class Judgement:
    """One run's: each answer ends its message, or puts it back into the outbox. One thread's."""

    def __init__(
        self,
        job: Job,
        *,
        tally: Tally,
        places: Places,
        spool: Spool,
        recorder: Recorder,
        circuit: EndpointCircuit,
        throttle: EndpointThrottle,
        begun: BegunFiles,
    ) -> None:
        self._job, self._tally, self._places, self._begun = job, tally, places, begun
        self._spool, self._recorder, self._circuit, self._throttle = spool, recorder, circuit, throttle
        # The endpoint acknowledged something in this run.
        self._is_alive = False

    def take(self, outbox: Outbox, answer: Answer[Sent]) -> None:
        cargo, kind = answer.request.tag.cargo, answer.error_kind
        if kind is None:
            self._acknowledged(outbox, answer.request.tag)
        elif answer.status is not None and honours_retry_after(answer.status):
            self._throttled(outbox, answer, kind)
        elif isinstance(cargo, Ping):
            self._ping_refused(outbox, cargo, answer, kind)
        else:
            self._judge(outbox, cargo, answer, kind)
            self._refused(outbox, cargo, answer, kind)

    def ask(self, outbox: Outbox) -> None:
        """Asks by a ping whether the endpoint answers; as the probe of an open circuit, once."""
        app = self._job.app
        outbox.ask(Ping(str(app.id), app.name, is_final=self._circuit.probing))

    def drop(self, outbox: Outbox) -> None:
        """Messages that waited for a second chance have failed, unless another run gives it; others were not sent."""
        for cargo in outbox.drop():
            if self._tally.stop not in NO_JUDGEMENT:
                self._fail_refused(cargo)
            if isinstance(cargo, Parts) and cargo.has_begun and not cargo.failures:
                self._begun.note(cargo)
            cargo.close()

    def done(self, cargo: Cargo) -> None:
        cargo.close()
        self._places.leave(cargo)

    def cannot_go_on(self, cargo: Cargo) -> None:
        """The message has failed in this run. A big file begins at its first part in the next one."""
        if isinstance(cargo, Parts) and cargo.has_begun:
            self._begun.forget(cargo)
        self.done(cargo)

    def forget(self, url: str) -> None:
        """The app has another URL, which has said nothing yet."""
        self._is_alive = False
        self._circuit.forget(url)
        self._throttle.forget(url)
        if self._tally.stop in (Stop.CIRCUIT, Stop.THROTTLED):
            self._tally.stop = None

    def _acknowledged(self, outbox: Outbox, sent: Sent) -> None:
        cargo, tally = sent.cargo, self._tally
        is_ping = isinstance(cargo, Ping)
        self._circuit.answered(ping=is_ping)
        if not is_ping:  # an endpoint that takes pings and no file would be throttled without an end
            self._throttle.acknowledged(sent.at)
        if tally.stop or outbox.is_asking or not self._is_alive:
            self._endpoint_answers(outbox)
        self._places.acknowledged(sent.round)
        cargo.acknowledge()
        if cargo.finished:
            tally.delivered += len(cargo.changes)
            tally.content_bytes += cargo.content_bytes
            self._recorder.acknowledged(cargo.changes)
            self.done(cargo)
        else:  # the next part, in its turn
            self._places.leave(cargo)
            outbox.put_back(cargo)

    def _endpoint_answers(self, outbox: Outbox) -> None:
        """It is not down: a stop is taken back, a question is answered, and what timed out is worth another try."""
        if not self._is_alive:
            self._is_alive = True
            outbox.proven(time.monotonic())
        if outbox.is_asking:
            outbox.answer()
        self._take_stop_back()

    def _take_stop_back(self) -> None:
        """The endpoint is not down, or takes requests again: the run goes on."""
        if self._tally.stop is Stop.CIRCUIT and not self._circuit.opened:
            self._tally.stop = None
        if self._tally.stop is Stop.THROTTLED and self._throttle.may_send():
            self._tally.stop = None

    def _judge(self, outbox: Outbox, cargo: Cargo, answer: Answer[Sent], kind: ErrorKind) -> None:
        """Says what a refusal means for the endpoint as a whole."""
        if POLICIES[kind].fault is Fault.WORKER:  # the endpoint has not been asked
            return
        if not counts_for_circuit(answer):
            self._circuit.answered()
            self._take_stop_back()
            return
        suspected = self._circuit.suspects
        self._circuit.failed(
            cargo.changes[0].path,
            is_new=not (cargo.known_bad or cargo.failures),
            timed_out=kind is ErrorKind.ENDPOINT_TIMEOUT,
            on_their_way=self._places.taken - 1,
        )
        if self._circuit.opened:
            self._stop_for_circuit(kind, answer)
            return
        if self._circuit.suspects and not suspected:
            self._spool.scatter()
            outbox.spread()
        if self._circuit.asks and not outbox.is_asking:
            self.ask(outbox)

    def _throttled(self, outbox: Outbox, answer: Answer[Sent], kind: ErrorKind) -> None:
        """The message has not failed: it is the next one again, when the wait is over."""
        sent = answer.request.tag
        self._tally.throttle_error = answer.error
        new_round = self._places.refused(sent.round)
        self._places.leave(sent.cargo)
        outbox.put_back(sent.cargo)
        begins = False
        if new_round or answer.retry_after is not None:
            begins = self._throttle.refused(answer.retry_after)
        else:
            self._throttle.refused_again()
        if not counts_for_circuit(answer):
            self._circuit.answered()
            self._take_stop_back()
        elif begins or self._circuit.probing:
            self._circuit.refused_round()
            if self._circuit.opened:
                self._tally.throttled = self._throttle.state
                self._stop_for_circuit(kind, answer)

    def _stop_for_circuit(self, kind: ErrorKind, answer: Answer[Sent]) -> None:
        self._tally.stop = self._tally.stop or Stop.CIRCUIT
        self._tally.opened_by = Refusal(kind, answer.error)

    def _refused(self, outbox: Outbox, cargo: Cargo, answer: Answer[Sent], kind: ErrorKind) -> None:
        cargo.refusal = Refusal(kind, answer.error)
        if POLICIES[kind].stops_run:
            self._tally.stop = self._tally.stop or Stop.FAILURE
        elif has_another_chance(outbox, cargo, answer, kind, is_alive=self._is_alive, now=time.monotonic()):
            self._places.leave(cargo)
            return
        self._tally.fail(kind, answer.error, list(cargo.changes))
        self.cannot_go_on(cargo)

    def _ping_refused(self, outbox: Outbox, ping: Ping, answer: Answer[Sent], kind: ErrorKind) -> None:
        self._places.leave(ping)
        if POLICIES[kind].stops_run:
            self._tally.stop = self._tally.stop or Stop.FAILURE
            self._tally.fail(kind, answer.error, [])
        elif not counts_for_circuit(answer):
            self._circuit.answered(ping=True)
            self._endpoint_answers(outbox)
        elif kind is ErrorKind.ENDPOINT_TIMEOUT or not outbox.send_again(ping, time.monotonic()):
            outbox.answer()
            self._circuit.ping_failed()
            for cargo in outbox.give_up_unproven():
                self._fail_refused(cargo)
            if self._circuit.opened:
                self._stop_for_circuit(kind, answer)

    def _fail_refused(self, cargo: Cargo) -> None:
        if cargo.refusal is not None:
            self._tally.fail(cargo.refusal.kind, cargo.refusal.error, list(cargo.changes))
