"""The bare loop: git cat-file, JSON, HMAC, curl multi. No ledger, no retries, no checks, nothing recorded.

What any sender of these webhooks must at least do, as tight as Python allows: the upper limit that syncsvc is held
against. It shares no code with syncsvc and reads the remote's own files, so that it does not even clone.
"""

import hmac
import secrets
import subprocess
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import IO, Any

import orjson
import pycurl

from benchmarks.contestant import serve

type Entry = tuple[str, str, str]  # path, mode, blob


def entries(repository: str) -> list[Entry]:
    command = ["git", "-C", repository, "ls-tree", "-r", "-z", "--full-tree", "HEAD"]
    listing = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    found = []
    for record in listing.split("\0")[:-1]:
        meta, path = record.split("\t", 1)
        mode, _, blob = meta.split(" ")
        found.append((path, mode, blob))
    return found


def contents(repository: str, wanted: list[Entry]) -> Iterator[tuple[Entry, bytes]]:
    with open_list(wanted) as blobs:
        command = ["git", "-C", repository, "cat-file", "--batch", "--buffer"]
        process = subprocess.Popen(command, stdin=blobs, stdout=subprocess.PIPE, bufsize=1 << 20)
        assert process.stdout is not None
        for entry in wanted:
            size = int(process.stdout.readline().split(b" ")[2])
            yield entry, process.stdout.read(size + 1)[:-1]
        process.wait()


def open_list(wanted: list[Entry]) -> IO[bytes]:
    """git reads what it is asked for from a file: nobody has to feed it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write("".join(f"{blob}\n" for _, _, blob in wanted).encode())
    file.seek(0)
    return file


class BareLoop:
    def __init__(self, repository: str, url: str, window: int) -> None:
        self._repository, self._window = repository, window
        head = ["git", "-C", repository, "rev-parse", "HEAD"]
        self._commit = subprocess.run(head, capture_output=True, check=True, text=True).stdout.strip()
        self._about = orjson.Fragment(orjson.dumps({"id": secrets.token_hex(16), "url": repository, "branch": "main"}))
        self._run = secrets.token_hex(16)
        self._key = b64decode(b64encode(secrets.token_bytes(32)))
        self._multi = pycurl.CurlMulti()
        self._idle = [self._handle(url) for _ in range(window)]

    def __call__(self, _: list[str]) -> dict[str, float]:
        wanted = entries(self._repository)
        files = contents(self._repository, wanted)
        taken = self._deliver(files)
        assert taken == len(wanted), f"{taken} of {len(wanted)} files were taken"
        return {"files": taken}

    def _deliver(self, files: Iterator[tuple[Entry, bytes]]) -> int:
        multi, idle, taken, more = self._multi, self._idle, 0, True
        while more or len(idle) < self._window:
            while more and idle:
                file = next(files, None)
                if file is None:
                    more = False
                    break
                handle = idle.pop()
                self._prepare(handle, *file)
                multi.add_handle(handle)
            multi.perform()
            _, done, failed = multi.info_read()
            assert not failed, failed
            for handle in done:
                taken += handle.getinfo(pycurl.RESPONSE_CODE) == 204
                multi.remove_handle(handle)
                idle.append(handle)
            if not done:
                multi.select(1.0)
        return taken

    def _prepare(self, handle: Any, entry: Entry, content: bytes) -> None:
        path, mode, blob = entry
        now = time.time()
        body = orjson.dumps(
            {
                "type": "file.created",
                "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")[:-6] + "Z",
                "data": {
                    "repository": self._about,
                    "commit": self._commit,
                    "sync_run": self._run,
                    "file": {
                        "path": path,
                        "mode": mode,
                        "blob_sha": blob,
                        "previous_blob_sha": None,
                        "sha256": sha256(content).hexdigest(),
                        "size": len(content),
                        "encoding": "utf-8",
                        "content": content.decode(),
                    },
                },
            }
        )
        webhook_id = secrets.token_hex(16)
        signed = f"{webhook_id}.{int(now)}.".encode() + body
        signature = b64encode(hmac.digest(self._key, signed, "sha256")).decode()
        handle.setopt(
            pycurl.HTTPHEADER,
            [
                "Content-Type: application/json",
                "Expect:",
                f"webhook-id: {webhook_id}",
                f"webhook-timestamp: {int(now)}",
                f"webhook-signature: v1,{signature}",
            ],
        )
        handle.setopt(pycurl.POSTFIELDS, body)

    @staticmethod
    def _handle(url: str) -> Any:
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.POST, 1)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.TCP_NODELAY, 1)
        handle.setopt(pycurl.USERAGENT, "bare-loop")
        handle.setopt(pycurl.TIMEOUT_MS, 15_000)
        handle.setopt(pycurl.WRITEFUNCTION, len)
        return handle


if __name__ == "__main__":
    _, REPOSITORY, URL, WINDOW = sys.argv
    serve(BareLoop(REPOSITORY, URL, int(WINDOW)))
