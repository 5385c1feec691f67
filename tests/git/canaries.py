"""Listeners that nobody should connect to, and the name service that leads there."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.policy import Egress
from syncsvc.egress.ports import PortPolicy

# Of the loopback network's addresses one is what tests take for a public host; all others are inside.
HOST = "127.0.0.1"
INSIDE = "127.0.0.2"


class Names:
    """A name service whose answers change: each name has a list of them, the last of which stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        found = self._answers.get(host, [[host]])
        return list(found.pop(0) if len(found) > 1 else found[0])


def only(names: Names, *addresses: str, ports: Sequence[str] = ("*",)) -> Egress:
    """Permits these addresses alone."""
    policy = AddressPolicy([f"{address}/32" for address in addresses or (HOST,)])
    return Egress(policy, PortPolicy(ports), "GIT_ALLOWED_NETWORKS", "GIT_ALLOWED_PORTS", names)


class Canary:
    """Counts connections to a port of an address of this machine."""

    def __init__(self, address: str = INSIDE, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=16)
        self.port = int(self._listener.getsockname()[1])
        self._connections = self._looks = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """Each that was made before: they are accepted in their order, and one of ours is the last."""
        self._looks += 1
        with socket.create_connection(self._listener.getsockname()[:2], timeout=30) as connection:
            connection.recv(1)
        return self._connections - self._looks

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            connection.close()


@contextlib.contextmanager
def canary(address: str = INSIDE, port: int = 0) -> Iterator[Canary]:
    bird = Canary(address, port)
    try:
        yield bird
    finally:
        bird.close()
