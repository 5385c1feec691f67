"""A real HTTP/2 server over TLS on 127.0.0.1, no larger than its tests need: it reads no headers, and answers 204."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

# RFC 9113: frame types, flags, and error codes.
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
REFUSED_STREAM = 0x7
PREFACE = 24
NO_CONTENT = b"\x89"  # RFC 7541, static table, entry 9: ":status: 204"


class Connection:
    """The server's side of one connection. `streams` counts the requests that have arrived whole."""

    def __init__(self, plain: socket.socket, tls: ssl.SSLContext) -> None:
        self._socket = tls.wrap_socket(plain, server_side=True)
        self._lock = threading.Lock()
        self.streams = 0

    def serve(self, answer: Callable[["Connection", int], None]) -> None:
        self._read(PREFACE)
        self.send(SETTINGS, 0, 0)
        while True:
            length, kind, flags, stream = struct.unpack(">IBBI", b"\0" + self._read(9))
            content = self._read(length)
            if kind in {SETTINGS, PING} and not flags & ACK:
                self.send(kind, ACK, 0, content if kind == PING else b"")
            if kind == DATA and length:
                self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", length))
            if kind in {DATA, HEADERS} and flags & END_STREAM:
                self.streams += 1
                answer(self, stream)

    def accept(self, stream: int) -> None:
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, NO_CONTENT)

    def refuse(self, stream: int) -> None:
        """Says that the request was not looked at, and may be sent again (RFC 9113, 8.7)."""
        self.send(RST_STREAM, 0, stream, struct.pack(">I", REFUSED_STREAM))

    def send(self, kind: int, flags: int, stream: int, content: bytes = b"") -> None:
        head = struct.pack(">IBBI", len(content), kind, flags, stream)[1:]
        with self._lock, suppress(OSError):  # an answer to a client that has gone
            self._socket.sendall(head + content)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self._socket.recv(count - len(found))
            if not piece:
                raise ConnectionError
            found += piece
        return found


class Http2Receiver:
    """`answer` gets each request that has arrived whole: its connection, and the number of its stream."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        answer: Callable[[Connection, int], None] = Connection.accept,
        *,
        port: int = 0,
    ) -> None:
        tls.set_alpn_protocols(["h2"])
        self._tls, self._answer = tls, answer
        self.connections: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}/hook"
        self._threads: list[threading.Thread] = []

    @property
    def handled(self) -> int:
        return sum(connection.streams for connection in self.connections)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop_listening()
        for connection in self.connections:
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, ValueError):  # the client went away, or the test has ended
            connection = Connection(plain, self._tls)
            self.connections.append(connection)
            try:
                connection.serve(self._answer)
            finally:
                connection.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
