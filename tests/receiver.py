"""A real HTTP/1.1 receiver on 127.0.0.1 that answers as a test tells it to."""

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

Reply = tuple[int, Mapping[str, str], bytes, float]
"""Status, headers, body, and a delay in seconds before the answer."""
Misbehaviour = Callable[[socket.socket], None]
"""Gets the raw socket in place of an answer; the connection is closed when it returns."""
Script = Callable[[dict[str, str], bytes], Reply | Misbehaviour]

OK: Reply = (204, {}, b"", 0.0)


class Received(NamedTuple):
    """Header names are lower case; `at` is the monotonic clock's."""

    target: str
    headers: dict[str, str]
    body: bytes
    at: float


def accept(headers: dict[str, str], body: bytes) -> Reply:
    return OK


def reset(connection: socket.socket) -> None:
    """Ends the connection with a TCP reset, as a crashed peer does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Receiver:
    """Keeps connections alive; a thread a connection; `answer` may be replaced at any time.

    `requests` has everything that arrived, in order; `connections` counts those that were opened.
    """

    def __init__(
        self, answer: Script = accept, *, tls: ssl.SSLContext | None = None, keep_bodies: bool = True, port: int = 0
    ) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self.connections = 0
        self.handled = 0
        self.stopping = threading.Event()
        self._tls = tls
        self._keep_bodies = keep_bodies
        self._open: set[socket.socket] = set()
        # Those that wait for their next request.
        self._idle: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.stopping.set()
        _shut(self._listener)
        with self._lock:
            for connection in self._open:
                _shut(connection)
        for thread in self._threads:
            thread.join(5)

    def stop_listening(self) -> None:
        """Accepts no more connections; those that are open are served on, as by a host that a name no longer means."""
        _shut(self._listener)
        self._threads[0].join(5)

    def wait_for(self, count: int, timeout: float = 10) -> None:
        """Until `count` requests have arrived; fails the test when they do not."""
        deadline = time.monotonic() + timeout
        while self.handled < count:
            assert time.monotonic() < deadline, f"{self.handled} of {count} requests arrived in {timeout} s"
            time.sleep(0.002)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        with self._lock:
            return len(self._open)

    @property
    def busy(self) -> bool:
        """True while anything that was sent over any connection has not been dealt with."""
        with self._lock:
            idle = self._open & self._idle
            if len(idle) < len(self._open):
                return True
            ready, _, _ = select.select([connection for connection in idle if connection.fileno() >= 0], [], [], 0)
            return bool(ready)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._listener.close()
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._open.discard(plain)
                    self._open.add(connection)
            buffer = bytearray()
            while self._exchange(connection, buffer):
                pass
        except OSError:
            pass  # the client went away, or the test has ended
        finally:
            with self._lock:
                self._open.discard(connection)
                self._idle.discard(connection)
            connection.close()

    def _exchange(self, connection: socket.socket, buffer: bytearray) -> bool:
        """One request and its answer; False when the connection is over."""
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            with self._lock:
                self._idle.add(connection)
            went_on = _receive(connection, buffer)
            with self._lock:
                self._idle.discard(connection)
            if not went_on:
                return False
        first, *lines = buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        total = end + 4 + int(headers.get("content-length", 0))
        while len(buffer) < total:
            if not _receive(connection, buffer):
                return False
        body = bytes(buffer[end + 4 : total])
        del buffer[:total]
        target = first.split(" ")[1]
        self.requests.append(Received(target, headers, body if self._keep_bodies else b"", time.monotonic()))
        with self._lock:
            self.handled += 1
        answer = self.answer(headers, body)
        if callable(answer):
            answer(connection)
            return False
        status, extra, content, delay = answer
        if delay and self.stopping.wait(delay):
            return False
        connection.sendall(_response(status, extra, content))
        return True


def _response(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} Scripted\r\n{length}{lines}\r\n".encode("latin-1") + body


def _receive(connection: socket.socket, buffer: bytearray) -> bool:
    chunk = connection.recv(262_144)
    buffer += chunk
    return bool(chunk)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        connection.close()
