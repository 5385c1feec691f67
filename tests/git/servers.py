"""Real servers on the loopback: git over http, git's own daemon, sshd, plain files, and ones that answer oddly."""

import base64
import contextlib
import functools
import getpass
import gzip
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

SSHD = Path("/usr/sbin/sshd")


class GitHttpServer:
    """`git http-backend` over all repositories of a folder. `stall` makes an answer to a fetch stop at its half.

    With a `pace` each answer comes in twelve pieces with so many seconds before each. `shallow` False takes the
    capability away.
    """

    def __init__(self, root: Path, *, username: str = "", token: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.root = root
        self.authorization = "Basic " + base64.b64encode(f"{username}:{token}".encode()).decode() if token else ""
        self.stall = threading.Event()
        self.stalled = threading.Event()
        self.redirect_to = ""
        self.redirects: dict[str, tuple[int, str]] = {}  # from paths, without what is asked of a repository
        self.status = 0
        self.retry_after = "1"
        self.delay = 0.0
        self.pace = 0.0
        self.shallow = True
        self.discoveries = 0
        self.bytes_sent = 0
        self.seen_authorizations: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def base(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def url(self, name: str) -> str:
        return f"{self.base}/{name}"

    def close(self) -> None:
        self.stall.clear()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(server: GitHttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # git has been ended
                self._answer(b"")

        def do_POST(self) -> None:
            with contextlib.suppress(OSError):
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            given = self.headers.get("Authorization", "")
            server.seen_authorizations.append(given)
            time.sleep(server.delay)
            if server.redirect_to:
                return self._refuse(301, "Location", server.redirect_to + self.path)
            if redirect := server.redirects.get(self.path.partition("/info/refs")[0]):
                return self._refuse(redirect[0], "Location", redirect[1])
            if server.status:
                return self._refuse(server.status, "Retry-After", server.retry_after)
            if server.authorization and given != server.authorization:
                return self._refuse(401, "WWW-Authenticate", 'Basic realm="git"')
            server.discoveries += self.path.endswith("service=git-upload-pack")
            head, _, content = self._backend(body).partition(b"\r\n\r\n")
            if not server.shallow:
                content = content.replace(b"shallow", b"no-such")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if server.stall.is_set() and b"command=fetch" in plain_body(body):
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                server.stalled.set()
                while server.stall.is_set():
                    time.sleep(0.01)
                self.close_connection = True
                return None
            for piece in _pieces(content) if server.pace else [content]:
                time.sleep(server.pace)
                self.wfile.write(piece)
                self.wfile.flush()
            server.bytes_sent += len(content)
            return None

        def _refuse(self, status: int, header: str, value: str) -> None:
            self.send_response(status)
            self.send_header(header, value)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"sorry!\n")

        def _backend(self, body: bytes) -> bytes:
            parts = urlsplit(self.path)
            env = {
                "PATH": os.environ["PATH"],
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_PROJECT_ROOT": str(server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_ADDR": "127.0.0.1",
            }
            # Not checked: of a damaged repository it gives what it can, as a real server would.
            return subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _pieces(content: bytes) -> list[bytes]:
    size = len(content) // 12 + 1
    return [content[start : start + size] for start in range(0, len(content), size)]


def packets(*lines: bytes) -> bytes:
    """Lines in git's framing, and the packet that ends them."""
    return b"".join(b"%04x%s" % (len(line) + 4, line) for line in lines) + b"0000"


@contextlib.contextmanager
def odd_server(
    body: bytes = b"",
    *,
    post_body: bytes = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    post_headers: Mapping[str, str] | None = None,
    pace: float = 0.0,
    endless: bool = False,
) -> Iterator[str]:
    """The base URL of a server that answers everything alike; with a `pace` a byte each so many seconds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body, headers or {})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(post_body or body, post_headers or headers or {})

        def _answer(self, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not endless:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                for byte in body if pace else [body]:
                    self.wfile.write(bytes([byte]) if isinstance(byte, int) else byte)
                    self.wfile.flush()
                    time.sleep(pace)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as base:
        yield base


@contextlib.contextmanager
def plain_files(root: Path) -> Iterator[str]:
    """The base URL of a server of files that knows nothing of git."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(functools.partial(Handler, directory=str(root))) as base:
        yield base


@contextlib.contextmanager
def serving(handler: "type[BaseHTTPRequestHandler] | functools.partial[SimpleHTTPRequestHandler]") -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def slow_line(port: int, *, size: int, pace: float) -> Iterator[int]:
    """The port of a relay to another, which passes on so many bytes of an answer each so many seconds."""

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            asking = threading.Thread(target=pass_on, args=(client, server, 65536, 0.0))
            asking.start()
            pass_on(server, client, size, pace)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            asking.join()

    def pass_on(source: socket.socket, target: socket.socket, size: int, pace: float) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(size):
                target.sendall(piece)
                time.sleep(pace)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            connections.append(threading.Thread(target=carry, args=(client,)))
            connections[-1].start()

    connections: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *connections):
                thread.join()


def plain_body(body: bytes) -> bytes:
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


@contextlib.contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """The base URL of a `git daemon` that exports all of `root`."""
    port = free_port()
    arguments = [
        "--listen=127.0.0.1",
        f"--port={port}",
        f"--base-path={root}",
        "--export-all",
        "--reuseaddr",
        str(root),
    ]
    process = subprocess.Popen(["git", "daemon", *arguments], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for_port(port)
        yield f"git://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class SshServer:
    """An sshd of this user's own, with one accepted key; `settings` are lines for its configuration.

    With a `certified` name its host key has a certificate, made out for that name and signed by the stranger's key.
    """

    def __init__(self, folder: Path, settings: str = "", *, certified: str = "") -> None:
        folder.mkdir(mode=0o700)
        for name in ("host", "client", "stranger"):
            arguments = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(arguments, check=True)
        self.port = free_port()
        self.user = getpass.getuser()
        self.private_key = (folder / "client").read_text()
        self.strangers_key = (folder / "stranger").read_text()
        host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        other_key = " ".join((folder / "stranger.pub").read_text().split()[:2])
        self.known_hosts = f"[127.0.0.1]:{self.port} {host_key}"
        self.wrong_known_hosts = f"[127.0.0.1]:{self.port} {other_key}"
        self.authority = other_key
        if certified:
            signing = ["ssh-keygen", "-q", "-s", str(folder / "stranger"), "-I", "host", "-h", "-n", certified]
            subprocess.run([*signing, str(folder / "host.pub")], check=True)
            settings += f"HostCertificate {folder / 'host-cert.pub'}\n"
        (folder / "authorized").write_text((folder / "client.pub").read_text())
        config = folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"{settings}"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
        wait_for_port(self.port)

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.02)
        else:
            return


def processes_with(variable: str) -> list[int]:
    """The processes that have `NAME=value` in their environment."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found
