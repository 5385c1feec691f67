"""libcurl's multi handle: the requests that are on their way together, and the connections that they share."""

import select
from time import monotonic

import pycurl

from syncsvc.delivery.slot import Slot
from syncsvc.delivery.sockets import Sockets

POLL_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}

type Descriptors[Tag] = dict[int, "Pool[Tag]"]


class Pool[Tag]:
    """Its connections are kept alive as long as it is open: none is older than the pool.

    libcurl's own limit, CURLOPT_MAXLIFETIME_CONN, is looked at for idle connections only. One of HTTP/2's that always
    has a request on its way, as in a run that goes on for minutes, would live for ever.
    """

    def __init__(self, poll: select.poll, descriptors: "Descriptors[Tag]") -> None:
        """Registers its sockets with `poll`, and itself under each in `descriptors`."""
        self.opened_at = monotonic()
        self.open: dict[pycurl.Curl, Slot[Tag]] = {}
        self.timer: float | None = None
        self._poll, self._descriptors = poll, descriptors
        self._running = 0
        self._sockets = Sockets()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def add(self, slot: Slot[Tag]) -> None:
        slot.sockets = self._sockets
        self.open[slot.easy] = slot
        self._running += 1
        self._multi.add_handle(slot.easy)

    def remove(self, slot: Slot[Tag]) -> None:
        del self.open[slot.easy]
        self._multi.remove_handle(slot.easy)
        self._running = min(self._running, len(self.open))

    def run_timer(self) -> None:
        while self.timer is not None and self.timer <= monotonic():
            self.timer = None
            self.run(pycurl.SOCKET_TIMEOUT, 0)

    def run(self, descriptor: int, events: int) -> None:
        _, self._running = self._multi.socket_action(descriptor, events)

    @property
    def has_ended(self) -> bool:
        """True where a request has ended."""
        return self._running < len(self.open)

    def ended(self) -> list[tuple[Slot[Tag], int, str]]:
        """Each slot whose request has ended, with libcurl's error code (0: none) and message."""
        _, done, failed = self._multi.info_read()
        return [
            *((self.open[easy], pycurl.E_OK, "") for easy in done),
            *((self.open[easy], code, message) for easy, code, message in failed),
        ]

    def close(self) -> None:
        """Closes its connections; no slot may be in it."""
        self._multi.close()

    def _watch(self, event: int, descriptor: int, multi: object, data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            self._poll.unregister(descriptor)
            self._descriptors.pop(descriptor, None)
        else:
            self._poll.register(descriptor, POLL_EVENTS.get(event, 0))
            self._descriptors[descriptor] = self

    def _set_timer(self, milliseconds: int) -> None:
        self.timer = None if milliseconds < 0 else monotonic() + milliseconds / 1000
