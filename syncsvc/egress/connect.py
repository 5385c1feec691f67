#!/usr/bin/env -S python3 -I -S
"""Program that ssh and git start in place of a connection: standard input and output lead through the proxy.

It runs by itself, with nothing of syncsvc's. Everything comes from the environment, so that no argument passes a shell
or shows a login: SYNCSVC_PROXY and SYNCSVC_PROXY_TARGET (host:port each), SYNCSVC_PROXY_AUTHORIZATION (blank for none),
SYNCSVC_PROXY_SECONDS (for connecting), SYNCSVC_PROXY_MARK. A failure is one line on standard error: the mark, the
status that the proxy answered (0: none), and `login` where it wants one.
"""

import os
import select
import socket
import sys

_MOST = 65536


class _FailedError(Exception):
    pass


def _connect() -> tuple[socket.socket, bytes]:
    host, _, port = os.environ["SYNCSVC_PROXY"].rpartition(":")
    target = os.environ["SYNCSVC_PROXY_TARGET"]
    authorization = os.environ.get("SYNCSVC_PROXY_AUTHORIZATION", "")
    login = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
    try:
        seconds = float(os.environ["SYNCSVC_PROXY_SECONDS"])
        proxy = socket.create_connection((host.strip("[]"), int(port)), timeout=seconds)
        proxy.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode("ascii"))
        head = b""
        while b"\r\n\r\n" not in head:
            block = proxy.recv(_MOST)
            head += block
            if not block or len(head) > _MOST:
                raise _FailedError("0")
    except TimeoutError:
        raise _FailedError("504") from None
    except OSError:
        raise _FailedError("0") from None
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    words = first.split()
    status = words[1] if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() else b"0"
    if not (status.startswith(b"2") and len(status) == 3):
        wants_login = any(line.lower().startswith(b"proxy-authenticate:") for line in lines)
        raise _FailedError(f"{status.decode()[:3]}{' login' if wants_login else ''}")
    proxy.settimeout(None)
    return proxy, rest


def _relay(proxy: socket.socket, rest: bytes) -> None:
    """Until the far side ends; the end of standard input is passed on."""
    _write(rest)
    sources = [proxy.fileno(), 0]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if 0 in ready:
            if block := os.read(0, _MOST):
                proxy.sendall(block)
            else:
                sources.remove(0)
                proxy.shutdown(socket.SHUT_WR)
        if proxy.fileno() in ready:
            block = proxy.recv(_MOST)
            if not block:
                return
            _write(block)


def _write(block: bytes) -> None:
    while block:
        block = block[os.write(1, block) :]


def main() -> int:
    try:
        proxy, rest = _connect()
    except _FailedError as failure:
        os.write(2, f"{os.environ.get('SYNCSVC_PROXY_MARK', '')} {failure}\n".encode())
        return 1
    try:
        _relay(proxy, rest)
    except OSError:  # either side is gone, which the other one tells by itself
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
