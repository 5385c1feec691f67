"""A real HTTP proxy on the loopback: tunnels by CONNECT, and requests with a whole URL, as curl sends for http."""

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from syncsvc.egress.proxy import Proxy, read_proxy

WANTS_LOGIN = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="way out"\r\nContent-Length: 0\r\n\r\n'


class Asked(NamedTuple):
    """A request to the proxy. `target` is host and port, header names are in small letters."""

    method: str
    target: str
    headers: dict[str, str]


class ProxyServer:
    """`leads` gives other places to hosts, as a resolver of the proxy's own does. With an `answer` nothing is let
    through: a whole head of an answer, or b"" to break off, or None, which lets through what has the `login`.
    """

    def __init__(self, *, login: str = "", leads: Mapping[str, tuple[str, int]] | None = None, port: int = 0) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.answer: bytes | None = None
        self.is_silent = False
        self._login, self._leads = login, leads or {}
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.end_connections()

    def end_connections(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def proxy(self, login: str = "") -> Proxy:
        """As EGRESS_PROXY has it; with a login as it stands in a URL, before an @."""
        proxy = read_proxy(f"http://{login}127.0.0.1:{self.port}")
        assert proxy is not None
        return proxy

    def take(self) -> list[str]:
        """What it was asked for since the last call."""
        asked, self.asked = self.asked, []
        return [each.target for each in asked]

    @property
    def targets(self) -> list[str]:
        return [each.target for each in self.asked]

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    return
                self.connections += 1
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (block := client.recv(65536)):
                    return
                head += block
            head, _, rest = head.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            method, target, _ = first.split(" ")
            parts = urlsplit(target)
            place = target if method == "CONNECT" else f"{parts.hostname}:{parts.port or 80}"
            self.asked.append(Asked(method, place, headers))
            if self.is_silent:
                client.recv(1)
            elif self.answer is not None:
                client.sendall(self.answer)
            elif self._login and headers.get("proxy-authorization") != self._login:
                client.sendall(WANTS_LOGIN)
            else:
                self._connect(client, method, place, first, lines, rest)

    def _connect(
        self, client: socket.socket, method: str, place: str, first: str, lines: list[str], rest: bytes
    ) -> None:
        host, _, port = place.rpartition(":")
        try:
            server = socket.create_connection(self._leads.get(host, (host.strip("[]"), int(port))), timeout=10)
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad gateway\r\nContent-Length: 0\r\n\r\n")
            return
        self._open.append(server)
        with server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                server.sendall(rest)
            else:
                _, target, version = first.split(" ")
                parts = urlsplit(target)
                path = f"{parts.path}?{parts.query}" if parts.query else parts.path
                kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
                head = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close"])
                server.sendall(head.encode("latin-1") + b"\r\n\r\n" + rest)
            back = threading.Thread(target=_relay, args=(server, client), daemon=True)
            back.start()
            _relay(client, server)
            back.join()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
