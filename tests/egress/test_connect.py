"""The program that leads git over ssh and git:// through the proxy."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsvc.egress import connect
from tests.delivery.asking import free_port
from tests.egress.proxy import ProxyServer

PROGRAM = Path(connect.__file__)
LOGIN = "Basic bWU6Z2VoZWlt"


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that greets, and sends back what it gets when that has ended."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"hello ")
            got = b""
            while block := connection.recv(65536):
                got += block
            connection.sendall(got)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]


def run(
    proxy: str, target: str, *, sends: bytes = b"", authorization: str = "", seconds: float = 5
) -> tuple[bytes, bytes]:
    env = {
        "PATH": os.environ["PATH"],
        "SYNCSVC_PROXY": proxy,
        "SYNCSVC_PROXY_TARGET": target,
        "SYNCSVC_PROXY_AUTHORIZATION": authorization,
        "SYNCSVC_PROXY_SECONDS": str(seconds),
        "SYNCSVC_PROXY_MARK": "mark",
    }
    # git gives it a host and a port besides.
    ended = subprocess.run([str(PROGRAM), "host", "1"], input=sends, env=env, capture_output=True, timeout=20)
    assert ended.returncode == (1 if ended.stderr else 0)
    return ended.stdout, ended.stderr


def test_it_carries_both_ways(echo: int) -> None:
    body = os.urandom(3_000_000)
    with ProxyServer(login=LOGIN) as server:
        said = run(f"127.0.0.1:{server.port}", f"127.0.0.1:{echo}", sends=body, authorization=LOGIN)
    assert said == (b"hello " + body, b"")
    assert server.targets == [f"127.0.0.1:{echo}"]


def test_it_says_that_the_proxy_is_not_there() -> None:
    assert run(f"127.0.0.1:{free_port()}", "127.0.0.1:1") == (b"", b"mark 0\n")
    assert run("no-such-proxy.invalid:1", "127.0.0.1:1") == (b"", b"mark 0\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"mark 502\n"),
        (b"HTTP/1.1 407 Rejected\r\nX-Smokescreen-Error: no\r\n\r\n", b"mark 407\n"),
        (b"HTTP/1.1 407 Login\r\nproxy-authenticate: Basic\r\n\r\n", b"mark 407 login\n"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"mark 0\n"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", b"mark 200\n"),
        (b"", b"mark 0\n"),
        (b"x" * 200_000, b"mark 0\n"),
    ],
)
def test_it_says_what_the_proxy_answered(answer: bytes, said: bytes) -> None:
    with ProxyServer() as server:
        server.answer = answer
        assert run(f"127.0.0.1:{server.port}", "127.0.0.1:1") == (b"", said)


def test_it_does_not_wait_for_ever() -> None:
    with ProxyServer() as server:
        server.is_silent = True
        assert run(f"127.0.0.1:{server.port}", "127.0.0.1:1", seconds=0.3) == (b"", b"mark 504\n")
