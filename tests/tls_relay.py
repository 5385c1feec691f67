"""TLS in front of a server that has none, as the servers' wheels are built: what clients meet is real."""

import contextlib
import selectors
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

# PostgreSQL's client asks for TLS in plain text before it begins with it (SSLRequest: length 8, 80877103).
ASKS_FOR_TLS = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class TlsRelay:
    """Listens at `port` of 127.0.0.1, and hands on to `to_port`. `connections` counts those whose client went on."""

    def __init__(self, to_port: int, context: ssl.SSLContext, *, postgres: bool = False) -> None:
        self.connections = 0
        self._to, self._context, self._postgres = to_port, context, postgres
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            if self._postgres:
                if plain.recv(8, socket.MSG_WAITALL) != ASKS_FOR_TLS:
                    return
                plain.sendall(b"S")
            with (
                self._context.wrap_socket(plain, server_side=True) as client,
                socket.create_connection(("127.0.0.1", self._to)) as server,
            ):
                self.connections += 1
                _exchange(client, server)


def _exchange(client: ssl.SSLSocket, server: socket.socket) -> None:
    """One thread for both, because a TLS socket must not be read and written at once."""
    client.setblocking(False)
    server.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                source, target = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                while True:
                    try:
                        data = source.recv(65536)
                    except (ssl.SSLWantReadError, BlockingIOError):
                        break
                    if not data:
                        return
                    target.setblocking(True)
                    target.sendall(data)
                    target.setblocking(False)
