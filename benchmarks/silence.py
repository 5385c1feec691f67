"""Endpoints that hang and remotes that say nothing: takes every connection, on every address, and never answers."""

import contextlib
import resource
import select
import socket


def serve(listener: socket.socket) -> None:
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    held: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                connected, _ = listener.accept()
                held[connected.fileno()] = connected
                poll.register(connected, select.EPOLLIN)
                continue
            read = b""
            with contextlib.suppress(OSError):
                read = held[descriptor].recv(1 << 18)
            if not read:
                held.pop(descriptor).close()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    every_address = "0.0.0.0"  # noqa: S104 - the many of the loopback, a host each
    with socket.create_server((every_address, 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener)
