"""The endpoints of the clients in the pictures: one server, one host name each, that answers as it is told."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

PORTS = (8080, 8088, 8880, 0)  # the first that is free; it is seen in the pictures


class Answer(NamedTuple):
    status: int
    text: str


TAKEN = Answer(204, "")


@dataclass(slots=True)
class Manners:
    """How one endpoint answers: `always`, or by path; `delay` in seconds."""

    always: Answer | None = None
    of_path: dict[str, Answer] = field(default_factory=dict)
    delay: float = 0

    def answer(self, paths: Iterator[str]) -> Answer:
        return self.always or next((self.of_path[path] for path in paths if path in self.of_path), TAKEN)


class Endpoints:
    """`http://hooks.acme.localhost:8080/syncsvc`: curl takes every name below localhost for this machine."""

    def __init__(self) -> None:
        self._manners: dict[str, Manners] = {}
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, app: str) -> str:
        return f"http://{_host(app)}:{self._server.server_port}/syncsvc"

    def of(self, app: str) -> Manners:
        return self.of_host(_host(app))

    def of_host(self, host: str) -> Manners:
        return self._manners.setdefault(host, Manners())


def _host(app: str) -> str:
    return f"hooks.{app}.localhost"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that ends hangs up."""


def _server(endpoints: Endpoints) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            manners = endpoints.of_host(self.headers["Host"].partition(":")[0])
            time.sleep(manners.delay)
            answer = manners.answer(_paths(body))
            self.send_response(answer.status)
            text = answer.text.encode()
            if answer.status != TAKEN.status:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    for port in PORTS:
        try:
            return _Server(("127.0.0.1", port), Handler)
        except OSError:
            continue
    raise SystemExit("No port is free for the endpoints.")


def _paths(body: dict[str, Any]) -> Iterator[str]:
    data = body["data"]
    for file in [data, *data.get("files", ())]:
        if "file" in file:
            yield file["file"]["path"]
