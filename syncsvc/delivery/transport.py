"""Many HTTP requests at once in one thread: libcurl's multi interface, driven by poll."""

import select
import socket
from contextlib import suppress
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Self

import pycurl

from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.answers import (
    Answer,
    Request,
    Verdict,
    counts_for_circuit,
    honours_retry_after,
    verdict_on_status,
)
from syncsvc.delivery.slot import Slot, trusted_authorities

__all__ = ["Answer", "Request", "Transport", "counts_for_circuit"]

POLL_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}


class Transport[Tag]:
    """Sends requests and gives back answers; one thread's, except `wake`. Times are in seconds.

    Every connection, new or kept alive, was checked against `addresses` when its socket was opened.
    """

    def __init__(
        self, addresses: AddressPolicy, *, connect_timeout: float, user_agent: str, ca_file: str | None = None
    ) -> None:
        self._addresses = addresses
        self._connect_timeout = connect_timeout
        self._user_agent = user_agent
        self._ca_file = ca_file or trusted_authorities()
        self._idle: list[Slot[Tag]] = []
        self._open: dict[pycurl.Curl, Slot[Tag]] = {}
        self._running = 0
        self._timer: float | None = None
        self._bell, self._clapper = socket.socketpair()
        self._bell.setblocking(False)
        self._clapper.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._bell_descriptor = self._bell.fileno()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def in_flight(self) -> int:
        return len(self._open)

    def send(self, request: Request[Tag]) -> None:
        """Takes the request; it goes out with the next `wait`."""
        slot = self._idle.pop() if self._idle else self._new_slot()
        slot.prepare(request)
        self._open[slot.easy] = slot
        self._running += 1
        self._multi.add_handle(slot.easy)

    def wait(self, timeout: float) -> list[Answer[Tag]]:
        """Answers as soon as there are any; none after `timeout`, after `wake`, or where nothing is in flight."""
        end = monotonic() + timeout
        while self._open:
            self._run_timer()
            if answers := self._collect():
                return answers
            woken = self._run_sockets(end)
            answers = self._collect()
            if answers or woken or monotonic() >= end:
                return answers
        return []

    def wake(self) -> None:
        """Ends a `wait` early, also the next one; from any thread."""
        with suppress(OSError):  # full: it rings already; closed: nobody waits
            self._clapper.send(b"\0")

    def abort(self) -> list[Request[Tag]]:
        """Closes what is in flight at once; whether an endpoint acted on one of these is not known."""
        slots = list(self._open.values())
        return [self._reclaim(slot) for slot in slots]

    def close(self) -> None:
        self.abort()
        self._multi.close()
        for slot in self._idle:
            slot.easy.close()
        self._idle.clear()
        self._bell.close()
        self._clapper.close()

    def _new_slot(self) -> Slot[Tag]:
        return Slot(
            self._addresses, connect_timeout=self._connect_timeout, user_agent=self._user_agent, ca_file=self._ca_file
        )

    def _watch(self, event: int, descriptor: int, multi: object, data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            self._poll.unregister(descriptor)
        else:
            self._poll.register(descriptor, POLL_EVENTS.get(event, 0))

    def _set_timer(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else monotonic() + milliseconds / 1000

    def _run_timer(self) -> None:
        while self._timer is not None and self._timer <= monotonic():
            self._timer = None
            _, self._running = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _run_sockets(self, end: float) -> bool:
        """Waits for sockets until `end` or libcurl's timer, serves them, and says whether `wake` was called."""
        until = end if self._timer is None else min(end, self._timer)
        woken = False
        for descriptor, events in self._poll.poll(max(0.0, until - monotonic()) * 1000):
            if descriptor == self._bell_descriptor:
                self._bell.recv(4096)
                woken = True
            else:
                _, self._running = self._multi.socket_action(descriptor, _ready(events))
        return woken

    def _collect(self) -> list[Answer[Tag]]:
        if self._running >= len(self._open):
            return []
        _, done, failed = self._multi.info_read()
        return [
            *(self._answered(self._open[easy]) for easy in done),
            *(self._failed(self._open[easy], code, message) for easy, code, message in failed),
        ]

    def _answered(self, slot: Slot[Tag]) -> Answer[Tag]:
        status: int = slot.easy.getinfo(pycurl.RESPONSE_CODE)
        return self._finish(slot, status, verdict_on_status(status))

    def _failed(self, slot: Slot[Tag], code: int, message: str) -> Answer[Tag]:
        status: int = slot.easy.getinfo(pycurl.RESPONSE_CODE)
        if slot.cut_off and code == pycurl.E_WRITE_ERROR:
            return self._finish(slot, status, verdict_on_status(status))
        return self._finish(slot, status, slot.verdict(code, message))

    def _finish(self, slot: Slot[Tag], status: int, verdict: Verdict) -> Answer[Tag]:
        retry_after = slot.easy.getinfo(pycurl.RETRY_AFTER) if honours_retry_after(status) else 0
        seconds: float = slot.easy.getinfo(pycurl.TOTAL_TIME)
        body = slot.body
        request = self._reclaim(slot)
        return Answer(request, status or None, verdict.kind, verdict.error, body, seconds, retry_after or None)

    def _reclaim(self, slot: Slot[Tag]) -> Request[Tag]:
        del self._open[slot.easy]
        self._multi.remove_handle(slot.easy)
        self._running = min(self._running, len(self._open))
        self._idle.append(slot)
        return slot.request


@cache
def _ready(events: int) -> int:
    ready = 0
    if events & (select.POLLIN | select.POLLHUP):
        ready |= pycurl.CSELECT_IN
    if events & select.POLLOUT:
        ready |= pycurl.CSELECT_OUT
    if events & (select.POLLERR | select.POLLNVAL):
        ready |= pycurl.CSELECT_ERR
    return ready
