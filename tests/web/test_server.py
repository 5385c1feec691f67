"""The web server as it runs: whoever is slow, big or odd keeps nobody else waiting."""

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from syncsvc.management.embedded import free_port
from syncsvc.management.stack import BASE_DIR, web_command
from tests.management.test_process import wait_for

HELD = 300
SECONDS = 60  # on a busy machine
type Command = Callable[[int], tuple[str, ...]]
HOST = b"Host: 127.0.0.1\r\n"
END = b"Connection: close\r\n\r\n"
UPLOAD = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000000\r\n"
POST = b"POST /admin/login/ HTTP/1.1\r\n" + HOST


def quick(port: int) -> tuple[str, ...]:
    """A web server that waits for headers for two seconds only."""
    code = f"from config.server import serve; serve('127.0.0.1', {port}, processes=1, header_seconds=2)"
    return (sys.executable, "-c", code)


class Server:
    """A web server of one process; `port` answers."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.port, self.log = free_port(), folder / "web.log"
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command(self.port), cwd=BASE_DIR, env=environment, stdout=log, stderr=log)
        wait_for(lambda: self.answers() or self.process.poll() is not None, SECONDS)
        assert self.process.poll() is None, self.log.read_text()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        connection.sendall(sent)
        return connection

    def ask(self, sent: bytes) -> bytes:
        """All of the answer to a request that ends its connection."""
        with closing(self.connect(sent)) as connection:
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(folder: Path, command: Command = quick) -> Iterator[Server]:
    server = Server(folder, command)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("web")) as one:
        yield one


def closed(connection: socket.socket) -> bool:
    """Whether the server has ended it; what it said before is read."""
    connection.settimeout(SECONDS)
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_hundreds_of_slow_connections_keep_nobody_waiting_and_are_dropped(server: Server) -> None:
    """Many times as many as there are threads, each of which such a connection once held."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * HELD)), hard))
    starts = (
        b"",
        b"GET /admin/login/ HTTP/1.1\r\nHost: 127.0.",
        POST + b"Content-Length: 30000\r\n\r\na",
        b"POST /hooks/github HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    )
    held = [server.connect(starts[number % len(starts)]) for number in range(HELD)]
    for path, status in ((b"GET /healthz", b"200"), (b"GET /admin/login/", b"200"), (b"POST /hooks/github", b"404")):
        assert server.ask(path + b" HTTP/1.1\r\n" + HOST + END).startswith(b"HTTP/1.1 " + status)
    for connection in held[2::4] + held[3::4]:  # still there, while others were answered
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    assert all(closed(connection) for connection in held[0::4] + held[1::4])
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/admin/login/", "/admin/syncsvc/app/add/", "/admin/api/retry", "/x"]
)
def test_an_upload_before_a_login_is_refused_unread(server: Server, path: str) -> None:
    answer = server.ask(f"POST {path} HTTP/1.1\r\n".encode() + HOST + UPLOAD + END)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"log in first" in answer


def test_a_long_form_before_a_login_is_answered_when_all_of_it_was_sent(server: Server) -> None:
    """A browser whose connection is closed while it sends shows no answer."""
    with closing(server.connect(POST + b"Content-Length: 100000\r\n\r\n" + b"a" * 40_000)) as connection:
        assert select.select([connection], [], [], 0.3)[0] == []
        connection.sendall(b"a" * 60_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz?%b HTTP/1.1\r\n%b\r\n" % (b"q" * 70_000, HOST), b"414"),
        (b"GET /healthz HTTP/1.1\r\n%bCookie: %b\r\n\r\n" % (HOST, b"c" * 2_000_000), b"431"),
        (b"GET /healthz HTTP/1.1\r\n%b%b\r\n" % (HOST, b"X: y\r\n" * 200), b"431"),
        (b"GET /\xff HTTP/1.1\r\n%b\r\n" % HOST, b"400"),
        (b"GET /a%%00b HTTP/1.1\r\n%b%b" % (HOST, END), b"404"),
        (b"GET / HTTP/1.1\r\n%b" % END, b"400"),
        (b"POST / HTTP/1.1\r\n%bContent-Length: -1\r\n\r\n" % HOST, b"400"),
        (b"POST / HTTP/1.1\r\n%bContent-Length: 1\r\nContent-Length: 2\r\n\r\nab" % HOST, b"400"),
        (b"POST /admin/login/ HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\nzz\r\n" % HOST, b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
    ],
    ids=["long URL", "big cookie", "many headers", "bytes", "NUL", "no host", "length", "lengths", "chunk", "TLS"],
)
def test_what_no_browser_sends_is_refused(server: Server, request_: bytes, status: bytes) -> None:
    with closing(server.connect()) as connection:
        try:
            connection.sendall(request_)
        except (BrokenPipeError, ConnectionResetError):
            return  # refused before it was sent
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            return
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_the_log_is_json_and_says_nothing_of_a_visit(server: Server) -> None:
    server.ask(b"GET /admin/login/?secret=hunter2 HTTP/1.1\r\n" + HOST + END)
    lines = server.log.read_text().splitlines()
    assert all(line.startswith("{") for line in lines)
    assert not any("hunter2" in line for line in lines)


def test_a_stop_waits_for_a_request_that_is_being_sent(tmp_path: Path) -> None:
    with running(tmp_path, lambda port: web_command(port, processes=1)) as server, ExitStack() as connections:
        half = connections.enter_context(server.connect(POST + b"Content-Length: 3\r\n\r\na"))
        idle = connections.enter_context(server.connect(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"))
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not server.answers(), SECONDS)
        half.sendall(b"=b")
        assert half.recv(100).startswith(b"HTTP/1.1 403")  # Django says it: there is no CSRF token
        assert server.process.wait(SECONDS) == 0


def test_a_kill_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not server.answers(), SECONDS)
