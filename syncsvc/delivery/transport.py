"""Many HTTP requests at once in one thread: libcurl's multi interface, driven by poll."""

import select
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Self

import certifi
import pycurl

from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.answers import (
    THROTTLED,
    Answer,
    Request,
    Verdict,
    counts_for_circuit,
    forbidden,
    verdict_on_failure,
    verdict_on_status,
    verdict_on_timeout,
)

__all__ = ["Answer", "Request", "Transport", "counts_for_circuit"]

ANSWER_BYTES = 4096
DNS_CACHE_SECONDS = 30
# "Expect:" keeps libcurl from asking for 100-continue before a large body: that costs a round trip.
CONSTANT_HEADERS = [b"Content-Type: application/json", b"Expect:"]
POLL_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}


class Transport:
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
        self._idle: list[_Slot] = []
        self._open: dict[pycurl.Curl, _Slot] = {}
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

    def send(self, request: Request) -> None:
        """Takes the request; it goes out with the next `wait`."""
        slot = self._idle.pop() if self._idle else self._new_slot()
        slot.prepare(request)
        self._open[slot.easy] = slot
        self._running += 1
        self._multi.add_handle(slot.easy)

    def wait(self, timeout: float) -> list[Answer]:
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

    def abort(self) -> list[Request]:
        """Closes what is in flight at once; whether an endpoint acted on one of these is not known."""
        slots = list(self._open.values())
        return [self._release(slot) for slot in slots]

    def close(self) -> None:
        self.abort()
        self._multi.close()
        for slot in self._idle:
            slot.easy.close()
        self._idle.clear()
        self._bell.close()
        self._clapper.close()

    def _new_slot(self) -> "_Slot":
        return _Slot(
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

    def _collect(self) -> list[Answer]:
        if self._running >= len(self._open):
            return []
        _, done, failed = self._multi.info_read()
        return [
            *(self._answered(self._open[easy]) for easy in done),
            *(self._failed(self._open[easy], code, message) for easy, code, message in failed),
        ]

    def _answered(self, slot: "_Slot") -> Answer:
        status: int = slot.easy.getinfo(pycurl.RESPONSE_CODE)
        return self._settle(slot, status, verdict_on_status(status))

    def _failed(self, slot: "_Slot", code: int, message: str) -> Answer:
        status: int = slot.easy.getinfo(pycurl.RESPONSE_CODE)
        if slot.cut_off and code == pycurl.E_WRITE_ERROR:
            return self._settle(slot, status, verdict_on_status(status))
        return self._settle(slot, status, slot.verdict(code, message))

    def _settle(self, slot: "_Slot", status: int, verdict: Verdict) -> Answer:
        retry_after = slot.easy.getinfo(pycurl.RETRY_AFTER) if status in THROTTLED else 0
        seconds: float = slot.easy.getinfo(pycurl.TOTAL_TIME)
        body = slot.body
        request = self._release(slot)
        return Answer(request, status or None, verdict.kind, verdict.error, body, seconds, retry_after or None)

    def _release(self, slot: "_Slot") -> Request:
        del self._open[slot.easy]
        self._multi.remove_handle(slot.easy)
        self._running = min(self._running, len(self._open))
        self._idle.append(slot)
        return slot.request


class _Slot:
    """An easy handle that is used again and again: what does not change is set once."""

    __slots__ = ("_addresses", "_timeout", "_url", "body", "cut_off", "easy", "refused_address", "request", "tried")
    request: Request
    body: bytes
    cut_off: bool
    refused_address: str
    tried: bool

    def __init__(self, addresses: AddressPolicy, *, connect_timeout: float, user_agent: str, ca_file: str) -> None:
        self._addresses = addresses
        self._url = ""
        self._timeout = 0.0
        self.easy = pycurl.Curl()
        for option, value in _constant_options():
            self.easy.setopt(option, value)
        self.easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(connect_timeout * 1000)))
        self.easy.setopt(pycurl.USERAGENT, user_agent)
        self.easy.setopt(pycurl.CAINFO, ca_file)
        self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._write)

    def prepare(self, request: Request) -> None:
        easy = self.easy
        if request.url != self._url:
            easy.setopt(pycurl.URL, request.url)
            self._url = request.url
        if request.timeout != self._timeout:
            easy.setopt(pycurl.TIMEOUT_MS, max(1, int(request.timeout * 1000)))
            self._timeout = request.timeout
        easy.setopt(pycurl.HTTPHEADER, [*CONSTANT_HEADERS, *request.headers])
        easy.setopt(pycurl.POSTFIELDS, request.body)
        self.request = request
        self.body = b""
        self.cut_off = False
        self.refused_address = ""
        self.tried = False

    def verdict(self, code: int, message: str) -> Verdict:
        if self.refused_address and not self.tried:
            return forbidden(self.refused_address, self.request)
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return verdict_on_timeout(self.request, connected=self.easy.getinfo(pycurl.REQUEST_SIZE) > 0)
        return verdict_on_failure(code, message, self.request)

    def _open_socket(self, purpose: int, target: tuple[int, int, int, tuple[str, int]]) -> socket.socket | int:
        family, kind, protocol, address = target
        host = str(address[0])
        if family not in {socket.AF_INET, socket.AF_INET6} or not self._addresses.permits(host):
            self.refused_address = host
            refused: int = pycurl.SOCKET_BAD
            return refused
        self.tried = True
        return _Socket(family, kind, protocol)

    def _write(self, data: bytes) -> int:
        """Keeps the answer's beginning; a count that is not `len(data)` makes libcurl close the connection."""
        room = ANSWER_BYTES - len(self.body)
        self.body += data[:room]
        self.cut_off = len(data) > room
        return min(room, len(data))


class _Socket(socket.socket):
    """pycurl duplicates the descriptor and drops this object, which must then close without a ResourceWarning."""

    def __del__(self) -> None:
        self.close()


def _constant_options() -> Iterable[tuple[int, object]]:
    return (
        (pycurl.POST, 1),
        (pycurl.NOSIGNAL, 1),
        (pycurl.FOLLOWLOCATION, 0),
        # Empty keeps libcurl from reading http_proxy: the check at the socket must see the endpoint's own address.
        (pycurl.PROXY, ""),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.TCP_NODELAY, 1),
        (pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS),
    )


def trusted_authorities() -> str:
    """The system's bundle (or SSL_CERT_FILE's), else certifi's: the one built into pycurl's wheel is Red Hat's path."""
    return ssl.get_default_verify_paths().cafile or certifi.where()


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
