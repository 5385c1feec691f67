"""Starts the example receiver as a process of its own, and speaks to it as syncsvc would, with a signer of its own."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

RECEIVER = Path(__file__).parents[2] / "examples" / "receiver" / "receiver.py"
REPOSITORY = {"id": "6d0f5c1e-0000-4000-8000-000000000001", "url": "https://git.example/docs.git", "branch": "main"}


def new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def blob_sha(content: bytes, algorithm: str = "sha1") -> str:
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content).hexdigest()


def whole_file(path: bytes, content: bytes, *, mode: str = "100644") -> dict[str, Any]:
    try:
        text, encoding = content.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(content).decode(), "base64"
    described: dict[str, Any] = {"mode": mode, "blob_sha": blob_sha(content), "previous_blob_sha": None}
    described |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return name(path) | described | {"encoding": encoding, "content": text}


def deleted_file(path: bytes) -> dict[str, Any]:
    nothing = dict.fromkeys(("mode", "blob_sha", "sha256", "size", "encoding", "content"))
    return name(path) | nothing | {"previous_blob_sha": "0" * 40}


def name(path: bytes) -> dict[str, Any]:
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path": quote(path), "path_base64": base64.b64encode(path).decode()}


def parts_of(path: bytes, content: bytes, chunk_id: str, part_bytes: int) -> list[dict[str, Any]]:
    pieces = [content[start : start + part_bytes] for start in range(0, len(content), part_bytes)]
    whole = whole_file(path, content)
    return [
        whole
        | {
            "sha256": whole["sha256"] if index + 1 == len(pieces) else None,
            "encoding": "base64",
            "content": base64.b64encode(piece).decode(),
            "chunk": {"id": chunk_id, "index": index, "total": len(pieces)},
        }
        for index, piece in enumerate(pieces)
    ]


def message(event: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": event, "timestamp": "2026-11-24T10:00:00.123456Z", "data": data}).encode()


class Program:
    """The receiver's process, its store, and one keep-alive connection to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = new_secret()
        self.secret_file = folder / "secret"
        self.secret_file.write_text(self.secret + "\n", encoding="ascii")
        self.store = folder / "store" / "received.sqlite3"
        self.store.parent.mkdir()
        self.errors = folder / "errors.log"

    def start(self, *options: str) -> None:
        command = [sys.executable, str(RECEIVER), "--port", "0", "--secret-file", str(self.secret_file)]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, "--store", str(self.store), *options], stdout=subprocess.PIPE, stderr=errors, cwd=self.folder
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line, self.errors.read_text()
        self.port = int(line.rstrip("/\n").rpartition(":")[2])
        self.connect()

    def connect(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.connection.close()
        self.process.send_signal(number)
        code = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        self.connection.request("POST", "/", body, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def send(
        self,
        event: str,
        data: dict[str, Any],
        *,
        webhook_id: str | None = None,
        age: int = 0,
        secrets: tuple[str, ...] = (),
    ) -> int:
        """Signs with each of `secrets` (the receiver's own if none is given), as if sent `age` seconds ago."""
        body, webhook_id, timestamp = message(event, data), webhook_id or str(uuid.uuid4()), int(time.time()) - age
        signatures = [signature(secret, webhook_id, timestamp, body) for secret in secrets or (self.secret,)]
        headers = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp)}
        return self.post(body, headers | {"webhook-signature": " ".join(signatures)})

    def send_file(self, event: str, file: dict[str, Any], **options: Any) -> int:
        data = {"repository": options.pop("repository", REPOSITORY), "commit": "c" * 40, "sync_run": "1", "file": file}
        return self.send(event, data, **options)

    def send_batch(self, *items: tuple[str, str, dict[str, Any]], **options: Any) -> int:
        files = [{"id": change_id, "type": event, "file": file} for change_id, event, file in items]
        return self.send(
            "files.batch", {"repository": REPOSITORY, "commit": "c" * 40, "sync_run": "1", "files": files}, **options
        )

    def get(self, target: str) -> tuple[int, bytes]:
        self.connection.request("GET", target)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def status(self) -> dict[str, Any]:
        status, body = self.get("/status")
        assert status == 200
        answer: dict[str, Any] = json.loads(body)
        return answer

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.get(f"/files{query}")[1].splitlines()]

    def files(self) -> dict[bytes, tuple[str, bytes]]:
        """What it holds: mode and content by raw path, content read over HTTP and checked against the listed blob."""
        held = {}
        for line in self.listed():
            where = "&".join(f"{key}={quote(line[key], safe='')}" for key in ("path_base64", "repository", "branch"))
            content = self.get(f"/file?{where}")[1]
            assert blob_sha(content) == line["blob_sha"]
            held[base64.b64decode(line["path_base64"])] = (line["mode"], content)
        return held
