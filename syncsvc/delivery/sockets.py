"""The sockets of kept-alive connections, to tell one that the endpoint has closed before it is used again."""

import socket
from collections.abc import Iterable

# Remote and local address, remote and local port: what libcurl tells of a connection that it is about to use.
type Ends = tuple[str, str, int, int]

# Linux's struct tcp_info begins with the state, which is this while neither side has closed (linux/tcp.h).
TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
ESTABLISHED = b"\x01"


class Sockets:
    """Those of one pool. An entry may outlive its connection, but is asked about only while that is open."""

    __slots__ = ("_by_ends",)

    def __init__(self) -> None:
        self._by_ends: dict[Ends, _Borrowed] = {}

    def connected(self, ends: Ends, opened: Iterable[int]) -> None:
        """Notes which of the descriptors that were opened for a connection (one an address tried) it now has."""
        for descriptor in opened:
            try:
                borrowed = _Borrowed(fileno=descriptor)
                if borrowed.getsockname()[1] == ends[3]:
                    self._by_ends[ends] = borrowed
            except OSError:  # closed: that address did not answer
                continue

    def has_ended(self, ends: Ends) -> bool:
        """True where the endpoint has closed the connection: nothing that is sent over it can be answered.

        libcurl looks by itself, but only where it has not looked within a second. Asked before each request, and so
        by getsockopt, which keeps the interpreter: poll gives it away, and 5 µs with it.
        """
        borrowed = self._by_ends.get(ends)
        if borrowed is None or TCP_INFO is None:
            return False
        return borrowed.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1) != ESTABLISHED


class _Borrowed(socket.socket):
    """Leaves the descriptor open: it is libcurl's."""

    def __del__(self) -> None:
        self.detach()
