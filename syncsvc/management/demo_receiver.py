"""The demo's client app: examples/receiver, run as a process of its own."""

import base64
import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from syncsvc.delivery.signing import new_secret
from syncsvc.management.embedded import free_port, port_is_free
from syncsvc.management.process import Program
from syncsvc.management.stack import BASE_DIR
from syncsvc.management.supervisor import StartError, Supervisor

READY_SECONDS = 20
PIECE = 256 * 1024


class HeldFile(NamedTuple):
    path: bytes
    mode: str
    blob: str
    size: int
    branch: str


class DemoReceiver:
    """Its port, secret and store, kept in `folder` from one demo to the next.

    With `trouble`, the factor by which its phases are stretched, it starts without a file and spoils what comes.
    """

    def __init__(self, folder: Path, *, program: Path, trouble: float | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._program, self._trouble = folder, program, trouble
        self.secret_file = folder / "secret"
        self.store = folder / "files.sqlite"
        if trouble is not None:
            for file in folder.glob("files.sqlite*"):
                file.unlink()
        self.is_new = not self.store.exists()
        self.port = self._remembered_port()
        self._remember_secret()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, supervisor: Supervisor) -> None:
        """Returns when it answers."""
        options = ("--port", str(self.port), "--secret-file", str(self.secret_file), "--store", str(self.store))
        command: tuple[str, ...] = (sys.executable, str(self._program), *options)
        if self._trouble is not None:
            wrapped = ("-m", "syncsvc.management.demo_trouble", str(self._program), "--scale", str(self._trouble))
            command = (sys.executable, *wrapped, *options)
        # Below the workers: it takes what they have in flight while they end.
        program = Program(name="receiver", command=command, directory=BASE_DIR, tier=1)
        child = supervisor.start(program)
        deadline = time.monotonic() + READY_SECONDS
        with ReceiverClient(self.port) as client:
            while not client.answers():
                if child.poll() is not None or time.monotonic() > deadline:
                    raise StartError(f"The demo's receiver does not start. Its log: {child.log}")
                time.sleep(0.05)

    def _remembered_port(self) -> int:
        file = self._folder / "port"
        known = file.read_text(encoding="ascii").strip() if file.exists() else ""
        port = int(known) if known.isdigit() and port_is_free(int(known)) else free_port()
        file.write_text(f"{port}\n", encoding="ascii")
        return port

    def _remember_secret(self) -> None:
        if not self.secret_file.exists():
            with open(os.open(self.secret_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(f"{new_secret()}\n")


class ReceiverClient:
    """Asks the receiver what it holds, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._connection.close()

    def answers(self) -> bool:
        try:
            self.status()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def status(self) -> dict[str, Any]:
        with self._get("/status") as response:
            status: dict[str, Any] = json.loads(response.read())
            return status

    def files(self, repository: str) -> Iterator[HeldFile]:
        """In the order of raw paths, branch by branch."""
        with self._get(f"/files?{urlencode({'repository': repository})}") as response:
            for line in response:
                file = json.loads(line)
                path = base64.b64decode(file["path_base64"])
                yield HeldFile(path, file["mode"], file["blob_sha"], file["size"], file["branch"])

    def content(self, repository: str, file: HeldFile) -> Iterator[bytes]:
        asked = {"repository": repository, "branch": file.branch, "path_base64": base64.b64encode(file.path).decode()}
        with self._get(f"/file?{urlencode(asked)}") as response:
            while piece := response.read(PIECE):
                yield piece

    def _get(self, target: str) -> http.client.HTTPResponse:
        try:
            self._connection.request("GET", target)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next call opens a new one
            raise
        if response.status != 200:
            raise http.client.HTTPException(f"The receiver answered {response.status} to {target.partition('?')[0]}")
        return response
