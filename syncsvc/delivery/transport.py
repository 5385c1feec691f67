"""Many HTTP requests at once in one thread: libcurl's multi interface, driven by poll."""

import select
import socket
from contextlib import suppress
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Self

import pycurl

from syncsvc.delivery.answers import (
    Answer,
    Request,
    Verdict,
    counts_for_circuit,
    honours_retry_after,
    verdict_on_answer,
)
from syncsvc.delivery.authorities import trusted_authorities
from syncsvc.delivery.pool import Descriptors, Pool
from syncsvc.delivery.slot import Slot
from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.delivery.tunnel import Tunnel
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.proxy import Proxy

__all__ = ["Answer", "Request", "Transport", "counts_for_circuit"]

# A name that leads to another host is followed after this long, however busy the connections to the old host are.
CONNECTION_SECONDS = 60.0


class Transport[Tag]:
    """Sends requests and gives back answers; one thread's, except `wake`. Times are in seconds.

    Every connection, new or kept alive, was checked against `addresses` when its socket was opened. None takes a
    request when it is older than `connection_seconds`.
    """

    def __init__(
        self,
        addresses: AddressPolicy,
        *,
        connect_timeout: float,
        user_agent: str,
        ca_file: str | None = None,
        connection_seconds: float = CONNECTION_SECONDS,
        proxy: Proxy | None = None,
        tls: TlsTerms | None = None,
    ) -> None:
        """`ca_file` None: the system's. With a `proxy` every connection goes through it."""
        self._addresses = addresses
        self._connect_timeout = connect_timeout
        self._user_agent = user_agent
        self._ca_file = ca_file or trusted_authorities()
        self._connection_seconds = connection_seconds
        self._tunnel = Tunnel(proxy, addresses, timeout=connect_timeout) if proxy else None
        self.tls = tls
        self._idle: list[Slot[Tag]] = []
        self._bell, self._clapper = socket.socketpair()
        self._bell.setblocking(False)
        self._clapper.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._bell_descriptor = self._bell.fileno()
        self._descriptors: Descriptors[Tag] = {}
        # The last one takes requests; those before it are too old, and end with their last request.
        self._pools = [self._new_pool()]
        self.in_flight = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def use(self, tls: TlsTerms | None) -> None:
        """Other terms from the next request on: it takes a new connection; those on their way end over the old ones."""
        if tls == self.tls:
            return
        self.tls = tls
        for slot in self._idle:
            slot.easy.close()
        self._idle.clear()
        self._pools.append(self._new_pool())
        self._close_old_pools()

    def send(self, request: Request[Tag]) -> None:
        """Takes the request; it goes out with the next `wait`."""
        if monotonic() - self._pools[-1].opened_at > self._connection_seconds:
            self._pools.append(self._new_pool())
            self._close_old_pools()
        slot = self._idle.pop() if self._idle else self._new_slot()
        slot.prepare(request)
        self._pools[-1].add(slot)
        self.in_flight += 1

    def wait(self, timeout: float) -> list[Answer[Tag]]:
        """Answers as soon as there are any; none after `timeout`, after `wake`, or where nothing is in flight."""
        end = monotonic() + timeout
        while self.in_flight:
            for pool in self._pools:
                if pool.timer is not None:
                    pool.run_timer()
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
        aborted = [self._reclaim(pool, slot) for pool in self._pools for slot in list(pool.open.values())]
        self._close_old_pools()
        return aborted

    def close(self) -> None:
        self.abort()
        for pool in self._pools:
            pool.close()
        for slot in self._idle:
            slot.easy.close()
        self._idle.clear()
        self._bell.close()
        self._clapper.close()

    def _new_slot(self) -> Slot[Tag]:
        return Slot(
            self._addresses,
            connect_timeout=self._connect_timeout,
            user_agent=self._user_agent,
            ca_file=self._ca_file,
            tunnel=self._tunnel,
            tls=self.tls,
        )

    def _new_pool(self) -> Pool[Tag]:
        return Pool(self._poll, self._descriptors)

    def _close_old_pools(self) -> None:
        """Closes pools that are too old and have no request on its way any more."""
        *old, current = self._pools
        for pool in old:
            if not pool.open:
                pool.close()
        self._pools = [*(pool for pool in old if pool.open), current]

    def _run_sockets(self, end: float) -> bool:
        """Waits for sockets until `end` or libcurl's timers, serves them, and says whether `wake` was called."""
        until = end
        for pool in self._pools:
            if pool.timer is not None and pool.timer < until:
                until = pool.timer
        woken = False
        for descriptor, events in self._poll.poll(max(0.0, until - monotonic()) * 1000):
            if descriptor == self._bell_descriptor:
                self._bell.recv(4096)
                woken = True
            elif found := self._descriptors.get(descriptor):
                found.run(descriptor, _ready(events))
        return woken

    def _collect(self) -> list[Answer[Tag]]:
        answers: list[Answer[Tag]] = []
        for pool in self._pools:
            if pool.has_ended:
                answers += [self._answer(pool, *ended) for ended in pool.ended()]
        if answers and len(self._pools) > 1:
            self._close_old_pools()
        return answers

    def _answer(self, pool: Pool[Tag], slot: Slot[Tag], code: int, message: str) -> Answer[Tag]:
        status: int = slot.easy.getinfo(pycurl.RESPONSE_CODE)
        is_whole = code == pycurl.E_OK or (slot.cut_off and code == pycurl.E_WRITE_ERROR)
        verdict = verdict_on_answer(status, slot.body) if is_whole else slot.verdict(status, code, message)
        return self._finish(pool, slot, status, verdict)

    def _finish(self, pool: Pool[Tag], slot: Slot[Tag], status: int, verdict: Verdict) -> Answer[Tag]:
        retry_after = slot.easy.getinfo(pycurl.RETRY_AFTER) if honours_retry_after(status) else 0
        seconds: float = slot.easy.getinfo(pycurl.TOTAL_TIME)
        if earlier := slot.earlier():
            seconds -= sum(answer.seconds for answer in earlier)
        body = slot.body
        request = self._reclaim(pool, slot)
        return Answer(request, status or None, verdict.kind, verdict.error, body, seconds, retry_after or None, earlier)

    def _reclaim(self, pool: Pool[Tag], slot: Slot[Tag]) -> Request[Tag]:
        pool.remove(slot)
        self.in_flight -= 1
        if slot.tls is self.tls:
            self._idle.append(slot)
        else:
            slot.easy.close()
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
