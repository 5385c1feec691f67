"""Canaries: listeners on every address there is, which record each connection and answer nothing."""

import select
import socket
import threading
from collections.abc import Sequence
from typing import NamedTuple


class Connection(NamedTuple):
    """The address and port that somebody connected to."""

    address: str
    port: int


class Canaries:
    """Listens by IPv4 and by IPv6 on these ports of all addresses that lead to this machine."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._seen: list[Connection] = []
        self._lock = threading.Lock()
        self._listeners = [
            socket.create_server((host, port), family=family, backlog=64)
            for host, family in (("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6))
            for port in ports
        ]
        for listener in self._listeners:
            listener.setblocking(False)
        threading.Thread(target=self._serve, daemon=True).start()

    def take(self) -> list[Connection]:
        """The connections since the last call; one that was made is among them, whether it was accepted or not."""
        with self._lock:
            self._accept()
            seen, self._seen = self._seen, []
            return seen

    def _serve(self) -> None:
        while True:
            select.select(self._listeners, [], [])
            with self._lock:
                self._accept()

    def _accept(self) -> None:
        for listener in self._listeners:
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    break
                with connection:
                    self._seen.append(Connection(*connection.getsockname()[:2]))
