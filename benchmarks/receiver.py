"""The receiver of all contestants: reads POSTs over kept-alive connections, counts them, and answers 204 at once.

It verifies nothing and keeps nothing, so that it is not what is measured. `GET /` answers what it has counted.
"""

import contextlib
import select
import socket
import sys

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
READ_BYTES = 1 << 18


class Connection:
    """Where one connection stands: the head it has read so far, or how much of a body is still to come."""

    __slots__ = ("head", "missing", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.head = b""
        self.missing = 0


class Receiver:
    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self.port: int = self._listener.getsockname()[1]
        self.requests = self.bytes = 0

    def serve(self) -> None:
        listening = self._listener.fileno()
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == listening:
                    self._accept()
                else:
                    with contextlib.suppress(OSError):
                        self._read(self._connections[descriptor])

    def _accept(self) -> None:
        connected, _ = self._listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connected.fileno()] = Connection(connected)
        self._poll.register(connected, select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        data = connection.socket.recv(READ_BYTES)
        if not data:
            del self._connections[connection.socket.fileno()]
            connection.socket.close()
            return
        if connection.missing:
            connection.missing -= len(data)
        else:
            head, blank, body = (connection.head + data).partition(b"\r\n\r\n")
            if not blank:
                connection.head = head
                return
            connection.head = b""
            if head.startswith(b"GET"):
                self._tell(connection.socket)
                return
            length = content_length(head)
            self.bytes += length
            connection.missing = length - len(body)
        if not connection.missing:
            self.requests += 1
            connection.socket.send(ANSWER)

    def _tell(self, connected: socket.socket) -> None:
        counted = f"{self.requests} {self.bytes}".encode()
        connected.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(counted) + counted)


def content_length(head: bytes) -> int:
    start = head.lower().index(b"\r\ncontent-length:") + 17
    return int(head[start:].split(b"\r\n", 1)[0])


if __name__ == "__main__":
    receiver = Receiver()
    print(receiver.port, flush=True)
    sys.setswitchinterval(1)
    receiver.serve()
