"""A client app: the example receiver as a process, behind a gate where a test sees and spoils what comes."""

import base64
import http.client
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from syncsvc.management.embedded import free_port
from syncsvc.management.process import Program
from syncsvc.management.supervisor import Supervisor
from tests.receiver import Misbehaviour, Receiver, Reply, reset
from tests.receiver_program import program as example

READY_SECONDS = 20
# Around WEBHOOK_TIMEOUT of the system under test.
LATE_SECONDS = (0.5, 1.3)
SECRETS_KEPT = 3
# Longer than any timeout.
SILENCE: Reply = (504, {}, b"", 30.0)


class Mood(NamedTuple):
    """How the endpoint is: the parts (of 1) of requests that fail, are reset, are throttled, are never answered, or are
    taken while the answer gets lost or comes late; and a delay of every answer.

    `hangs`: no request is answered. `retry_after` is what a throttled request is told, in seconds; None: nothing.
    `late` answers come after the timeout as often as before it.
    """

    fails: float = 0
    resets: float = 0
    throttles: float = 0
    silent: float = 0
    loses: float = 0
    late: float = 0
    retry_after: int | None = None
    delay: float = 0
    hangs: bool = False


WELL = Mood()


class Sent(NamedTuple):
    """A request that came to the gate, and whether the receiver took it. `at` is the monotonic clock's."""

    webhook_id: str
    repository: str
    path: bytes
    event: str
    version: tuple[str | None, str | None, int]
    commit: str
    at: float
    seconds_late: float
    taken: bool


class Client:
    """Its `files` are what the receiver's store holds; `sent` is everything that came, in order.

    `bad` are paths that it always refuses, each with a status of its own. `unverified` counts signatures that it did
    not know.
    """

    def __init__(self, name: str, folder: Path, supervisor: Supervisor) -> None:
        self.name, self._supervisor = name, supervisor
        self.mood = WELL
        self.bad: dict[bytes, int] = {}
        self.sent: list[Sent] = []
        self.unverified = 0
        self._connections = threading.local()  # the gate has a thread for each of the worker's
        self._all_connections: list[http.client.HTTPConnection] = []
        self._folder = folder / name
        self._folder.mkdir()
        self.secret_file = self._folder / "secret"
        self.secret_file.write_text(example.new_secret(), encoding="ascii")
        self.store = self._folder / "files.sqlite"
        self.port = free_port()
        self._start()
        self._old_gates: list[Receiver] = []
        self._gate = self._new_gate()
        self.url = self._gate.url

    def move(self) -> str:
        """Opens another gate before the same store, and gives its URL; the old one stays until it is closed."""
        self._old_gates.append(self._gate)
        self._gate = self._new_gate()
        self.url = self._gate.url
        return self.url

    def close_old_gates(self) -> None:
        while self._old_gates:
            self._old_gates.pop().close()

    def new_secret(self) -> Path:
        """A file with a secret that signs from now on; the receiver knows it once `knows` was called with it."""
        file = self._folder / "next-secret"
        file.write_text(example.new_secret(), encoding="ascii")
        return file

    def knows(self, secret_file: Path) -> None:
        """The receiver takes this secret too, beside the last ones: requests signed by them may be on their way."""
        known = [*self.secret_file.read_text(encoding="ascii").split(), secret_file.read_text(encoding="ascii")]
        self.secret_file.write_text("\n".join(known[-SECRETS_KEPT:]), encoding="ascii")

    def _new_gate(self) -> Receiver:
        return Receiver(self._answer, keep_bodies=False).__enter__()

    def restart(self) -> None:
        """kill -9 of the receiver, and a new one; its store stays."""
        child = self._supervisor.child(f"receiver-{self.name}")
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        self._supervisor.stop(f"receiver-{self.name}")
        self._start()

    def _start(self) -> None:
        options = ("--port", str(self.port), "--secret-file", str(self.secret_file), "--store", str(self.store))
        name = f"receiver-{self.name}"
        command = (sys.executable, str(example.RECEIVER), *options)
        self._supervisor.start(Program(name=name, command=command, tier=1))
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, f"the receiver of {self.name} does not start"
            time.sleep(0.05)

    def close(self) -> None:
        self.mood = WELL
        self.close_old_gates()
        self._gate.close()
        for connection in self._all_connections:
            connection.close()

    def files(self, repository: str) -> dict[bytes, tuple[str, bytes]]:
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as store:
            select = "SELECT path, mode, content FROM files WHERE repository = ?"
            parts = "SELECT bytes FROM contents WHERE content = ? ORDER BY part"
            held = {
                bytes(path): (mode, b"".join(data for (data,) in store.execute(parts, (content,))))
                for path, mode, content in store.execute(select, (repository,)).fetchall()
            }
        store.close()
        return held

    def status(self) -> dict[str, Any]:
        """The receiver's own counts since it was started: `repeats`, `verified`, `rejected`."""
        status: dict[str, Any] = json.loads(self._ask("GET", "/status", b"", {})[1])
        return status

    def taken(self, since: int = 0) -> list[Sent]:
        return [sent for sent in self.sent[since:] if sent.taken]

    def repeats(self, since: int = 0) -> int:
        """Requests taken whose webhook id had been taken before."""
        ids = [sent.webhook_id for sent in self.taken(since)]
        return len(ids) - len(set(ids))

    def _answer(self, headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        mood, at = self.mood, time.monotonic()
        if mood.hangs:
            self._note(headers, body, at, taken=False)
            return SILENCE
        if status := self.bad.get(_path(body)):
            self._note(headers, body, at, taken=False)
            return status, {}, b"the test never takes this file", 0.0
        roll = self._rolled()
        if spoiled := _spoiled(mood, roll):
            self._note(headers, body, at, taken=False)
            return spoiled
        try:
            status, content = self._ask("POST", "/", body, headers)
        except (OSError, http.client.HTTPException):
            self._note(headers, body, at, taken=False)
            return reset
        self.unverified += status == 401
        self._note(headers, body, at, taken=200 <= status < 300)
        roll -= mood.fails + mood.resets + mood.throttles + mood.silent
        if roll < mood.loses:
            return reset
        is_late = roll < mood.loses + mood.late
        return status, {}, content, LATE_SECONDS[time.perf_counter_ns() % 2] if is_late else mood.delay

    def _rolled(self) -> float:
        return time.perf_counter_ns() % 1009 / 1009  # no seed makes the order of arrival the same

    def _note(self, headers: Mapping[str, str], body: bytes, at: float, *, taken: bool) -> None:
        message = json.loads(body)
        data = message["data"]
        file = data.get("file", {})
        chunk = file.get("chunk") or {"index": 0}
        self.sent.append(
            Sent(
                webhook_id=headers["webhook-id"],
                repository=data.get("repository", {}).get("id", ""),
                path=_path(body),
                event=message["type"],
                version=(file.get("mode"), file.get("blob_sha"), chunk["index"]),
                commit=data.get("commit", ""),
                at=at,
                seconds_late=time.time() - int(headers["webhook-timestamp"]),
                taken=taken,
            )
        )

    def _answers(self) -> bool:
        try:
            self.status()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = getattr(self._connections, "one", None)
        if connection is None:
            connection = self._connections.one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self._all_connections.append(connection)
        passed = {name: value for name, value in headers.items() if name.startswith("webhook-")}
        try:
            connection.request(method, target, body, passed)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise


def _spoiled(mood: Mood, roll: float) -> Reply | Misbehaviour | None:
    """The answer of a request that the receiver never sees; `roll` is a random number below 1."""
    if roll < mood.fails:
        return 500, {}, b"the test says no", 0.0
    if roll < mood.fails + mood.resets:
        return reset
    if roll < mood.fails + mood.resets + mood.throttles:
        told = {} if mood.retry_after is None else {"Retry-After": str(mood.retry_after)}
        return 429, told, b"the test says later", 0.0
    return SILENCE if roll < mood.fails + mood.resets + mood.throttles + mood.silent else None


def _path(body: bytes) -> bytes:
    file = json.loads(body)["data"].get("file", {})
    return base64.b64decode(file["path_base64"]) if "path_base64" in file else file.get("path", "").encode()
