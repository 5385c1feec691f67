"""A client app in one file: takes syncsvc's webhooks, checks everything in them, and keeps the files in SQLite.

It uses the standard library and `standardwebhooks` (and `cryptography`, to verify by a public key), and nothing of
syncsvc. docs/webhooks.md explains each step.
No file is ever written at a received path: content lives in rows, found by the path's raw bytes.
"""

import argparse
import asyncio
import base64
import hashlib
import ipaddress
import json
import signal
import sqlite3
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from standardwebhooks import Webhook, WebhookVerificationError

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None  # type: ignore[assignment,misc]

MAX_HEAD = 16 * 1024
MAX_BODY = 8 * 1024 * 1024
IDLE_SECONDS = 120
TOLERANCE_SECONDS = 300
MIN_SECRET_BYTES = 24  # Standard Webhooks 1.0.0, "Signature scheme"
MAX_SIGNATURES = 20  # to verify one costs time; a sender has at most ten
REMEMBER_SECONDS = 30 * 86_400  # how long webhook ids are kept to recognise repeats
REASONS = {
    200: "OK", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    422: "Unprocessable Content", 431: "Request Header Fields Too Large", 503: "Service Unavailable",
}  # fmt: skip

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS repositories (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL, branch TEXT NOT NULL, url TEXT NOT NULL, UNIQUE (id, branch));
-- blob_sha is NULL where the path was deleted; the row stays, so that a late, older event is known as such.
-- sent_at: microseconds since 1970 by the sender's clock, so that two events of one second have an order.
CREATE TABLE IF NOT EXISTS paths (
    repository INTEGER NOT NULL, path BLOB NOT NULL, content INTEGER, mode TEXT, blob_sha TEXT, size INTEGER NOT NULL,
    commit_sha TEXT NOT NULL, sent_at INTEGER NOT NULL, PRIMARY KEY (repository, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (
    content INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (content, part));
CREATE TABLE IF NOT EXISTS uploads (
    repository INTEGER NOT NULL, path BLOB NOT NULL, content INTEGER NOT NULL, chunk_id TEXT NOT NULL,
    description TEXT NOT NULL, next_part INTEGER NOT NULL, received INTEGER NOT NULL,
    sent_at INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (repository, path));
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS files AS
    SELECT r.id AS repository, r.branch, p.path, p.mode, p.blob_sha, p.size, p.content, p.commit_sha
    FROM paths p JOIN repositories r ON r.key = p.repository WHERE p.blob_sha IS NOT NULL;
"""


class Refused(Exception):
    """A request that is not acknowledged: its HTTP status and a reason that holds no body and no secret."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Change(NamedTuple):
    """A verified file of a message. `bytes` is None for a deletion; `part` and `total` are 0 and 1 for a whole file."""

    id: str
    path: bytes
    mode: str | None
    blob_sha: str | None
    sha256: str | None
    size: int
    bytes: bytes | None
    part: int
    total: int


class PublicKey:
    """Verifies signatures `v1a` (Ed25519) by the key `whpk_…`, as `Webhook` does `v1` by a shared secret."""

    def __init__(self, text: str) -> None:
        if Ed25519PublicKey is None:
            raise ValueError("a whpk_ key needs the package cryptography: pip install cryptography")
        self.key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix("whpk_"), validate=True))

    def verify(self, body: bytes, headers: dict[str, str], *, json_parse: bool) -> None:
        webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not webhook_id or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
            raise WebhookVerificationError("Missing required headers")
        if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
            raise WebhookVerificationError("Message timestamp too old or too new")
        signed = f"{webhook_id}.{timestamp}.".encode("latin-1") + body
        for signature in headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]:
            version, _, encoded = signature.partition(",")
            if version == "v1a" and self.fits(encoded, signed):
                return
        raise WebhookVerificationError("No matching signature found")

    def fits(self, encoded: str, signed: bytes) -> bool:
        try:
            self.key.verify(base64.b64decode(encoded, validate=True), signed)
        except (InvalidSignature, ValueError):
            return False
        return True


def verifier(line: str) -> "Webhook | PublicKey":
    """Which of the two a line of the secret file is for: a public key never verifies what a shared secret signed."""
    if line.startswith("whpk_"):
        return PublicKey(line)
    # The library decodes whatever it is given: a public key without its prefix, or a word of a remark, would become
    # the key of an HMAC that everybody can guess.
    secret = base64.b64decode(line.removeprefix("whsec_"), validate=True)
    if not line.startswith("whsec_") or len(secret) < MIN_SECRET_BYTES:
        raise ValueError("neither a whsec_ secret nor a whpk_ key")
    return Webhook(line)


class Hashes:
    """The two checksums of a file, fed piece by piece: sha256, and git's own name for the content."""

    def __init__(self, size: int, blob_sha: str) -> None:
        self.sha256 = hashlib.sha256()
        self.blob = hashlib.sha256() if len(blob_sha) == 64 else hashlib.sha1(usedforsecurity=False)
        self.blob.update(b"blob %d\0" % size)

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        self.blob.update(data)

    def check(self, change: Change) -> None:
        if self.blob.hexdigest() != change.blob_sha:
            raise Refused(422, f"{change.path!r}: the content does not have the announced blob_sha")
        if self.sha256.hexdigest() != change.sha256:
            raise Refused(422, f"{change.path!r}: the content does not have the announced sha256")


def read_change(change_id: str, event: str, file: dict[str, Any]) -> Change:
    raw_path = file.get("path_base64")
    path = base64.b64decode(raw_path, validate=True) if raw_path is not None else file["path"].encode()
    if not path or not change_id:
        raise Refused(422, "a file without a path or an id")
    if event == "file.deleted":
        return Change(change_id, path, None, None, None, 0, None, 0, 1)
    if event not in ("file.created", "file.updated"):
        raise Refused(422, f"{event!r} is no event about a file")
    content = file["content"]
    data = base64.b64decode(content, validate=True) if file["encoding"] == "base64" else content.encode()
    mode, blob_sha = str(file["mode"]), str(file["blob_sha"])
    chunk = file.get("chunk") or {"id": change_id, "index": 0, "total": 1}
    part, total, size = int(chunk["index"]), int(chunk["total"]), int(file["size"])
    change = Change(str(chunk["id"]), path, mode, blob_sha, file["sha256"], size, data, part, total)
    if not (0 <= part < total < 2**32 and 0 <= size < 2**48 and len(mode) == 6 and len(blob_sha) in (40, 64)):
        raise Refused(422, f"{path!r}: mode, blob_sha, size or chunk make no sense")
    if total == 1:
        if len(data) != size:
            raise Refused(422, f"{path!r}: {len(data)} bytes came where {size} were announced")
        hashes = Hashes(size, blob_sha)
        hashes.update(data)
        hashes.check(change)
    return change


class Store:
    """What was received, in one SQLite file. Writes wait in a transaction until `commit`."""

    def __init__(self, file: Path, *, fsync: bool) -> None:
        self.file = file
        self.db = sqlite3.connect(file, isolation_level=None)
        self.db.executescript(SCHEMA)
        if "sent_at" not in {row[1] for row in self.db.execute("PRAGMA table_info (uploads)")}:  # an older store
            self.db.execute("ALTER TABLE uploads ADD COLUMN sent_at INTEGER NOT NULL DEFAULT 0")
        self.db.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        self.db.execute("DELETE FROM seen WHERE at < ?", (int(time.time()) - REMEMBER_SECONDS,))
        self.last_content: int = self.db.execute("SELECT coalesce(max(content), 0) FROM contents").fetchone()[0]
        self.forget_memory()

    def forget_memory(self) -> None:
        """Reads anew what is kept in memory beside the file: after a start and after a rollback."""
        self.repositories: dict[tuple[str, str], int] = {}
        self.hashes: dict[int, tuple[int, Hashes]] = {}  # by content: the next part, the checksums so far
        self.files, self.bytes = self.db.execute("SELECT count(*), coalesce(sum(size), 0) FROM files").fetchone()

    def begin(self) -> None:
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        if self.db.in_transaction:
            self.db.execute("COMMIT")

    def rollback(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self.forget_memory()

    def repository(self, described: dict[str, Any]) -> int:
        name = (str(described["id"]), str(described.get("branch") or ""))
        if name not in self.repositories:
            insert = "INSERT INTO repositories (id, branch, url) VALUES (?, ?, ?) ON CONFLICT (id, branch) DO NOTHING"
            self.db.execute(insert, (*name, str(described.get("url") or "")))
            found = self.db.execute("SELECT key FROM repositories WHERE id = ? AND branch = ?", name).fetchone()
            self.repositories[name] = found[0]
        return self.repositories[name]

    def has_seen(self, change_id: str) -> bool:
        return self.db.execute("SELECT 1 FROM seen WHERE id = ?", (change_id,)).fetchone() is not None

    def check_order(self, repository: int, change: Change, sent_at: int) -> None:
        """Refuses what was sent before the event that the path has already. If it matters it comes again."""
        for select, newer in (
            ("SELECT sent_at FROM paths WHERE repository = ? AND path = ?", "event"),
            ("SELECT sent_at FROM uploads WHERE repository = ? AND path = ?", "part"),
        ):
            found = self.db.execute(select, (repository, change.path)).fetchone()
            if found and sent_at < found[0]:
                raise Refused(409, f"{change.path!r}: a newer {newer} has been applied already")

    def apply(self, repository: int, change: Change, commit: str, sent_at: int) -> bool:
        """Takes one change, or one part of it, and returns whether the change is complete."""
        if change.total > 1:
            content: int | None = self._append(repository, change, sent_at)
            if change.part + 1 < change.total:
                return False
            self.db.execute("DELETE FROM uploads WHERE content = ?", (content,))
        else:
            self._drop_upload(repository, change.path)
            content = None if change.bytes is None else self._new_content(change.bytes)
        self._point(repository, change, content, commit, sent_at)
        self.db.execute("INSERT INTO seen (id, at) VALUES (?, ?)", (change.id, int(time.time())))
        return True

    def _point(self, repository: int, change: Change, content: int | None, commit: str, sent_at: int) -> None:
        where = (repository, change.path)
        select = "SELECT content, size FROM paths WHERE repository = ? AND path = ?"
        old_content, old_size = self.db.execute(select, where).fetchone() or (None, 0)
        if old_content is not None:
            self.db.execute("DELETE FROM contents WHERE content = ?", (old_content,))
        self.db.execute(
            "INSERT OR REPLACE INTO paths (repository, path, content, mode, blob_sha, size, commit_sha, sent_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*where, content, change.mode, change.blob_sha, change.size, commit, sent_at),
        )
        self.files += (content is not None) - (old_content is not None)
        self.bytes += change.size - old_size

    def _new_content(self, data: bytes) -> int:
        self.last_content += 1
        self.db.execute("INSERT INTO contents (content, part, bytes) VALUES (?, 0, ?)", (self.last_content, data))
        return self.last_content

    def _append(self, repository: int, change: Change, sent_at: int) -> int:
        where = (repository, change.path)
        description = json.dumps([change.total, change.size, change.mode, change.blob_sha])
        if change.part == 0:
            self._drop_upload(*where)
            content, received, hashes = self.last_content + 1, 0, Hashes(change.size, str(change.blob_sha))
            self.last_content = content
        else:
            content, received = self._unfinished(repository, change, description)
            hashes = self._hashes_so_far(content, change)
        data = change.bytes or b""
        received += len(data)
        hashes.update(data)
        try:
            if received > change.size or (change.part + 1 == change.total and received != change.size):
                raise Refused(422, f"{change.path!r}: {received} bytes came where {change.size} were announced")
            if change.part + 1 == change.total:
                hashes.check(change)
        except Refused:
            self._drop_upload(*where)
            raise
        self.db.execute("INSERT INTO contents (content, part, bytes) VALUES (?, ?, ?)", (content, change.part, data))
        self.db.execute(
            "INSERT OR REPLACE INTO uploads"
            " (repository, path, content, chunk_id, description, next_part, received, sent_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*where, content, change.id, description, change.part + 1, received, sent_at),
        )
        self.hashes[content] = (change.part + 1, hashes)
        if change.part + 1 == change.total:
            del self.hashes[content]
        return content

    def _unfinished(self, repository: int, change: Change, description: str) -> tuple[int, int]:
        select = (
            "SELECT content, chunk_id, description, next_part, received FROM uploads WHERE repository = ? AND path = ?"
        )
        found = self.db.execute(select, (repository, change.path)).fetchone()
        due = found[3] if found and found[1:3] == (change.id, description) else 0
        if due != change.part:
            raise Refused(409, f"{change.path!r}: part {change.part} came where part {due} is due")
        return found[0], found[4]

    def _hashes_so_far(self, content: int, change: Change) -> Hashes:
        """From memory, or after a restart from the parts that are stored."""
        part, hashes = self.hashes.get(content, (-1, None))
        if hashes is None or part != change.part:
            hashes = Hashes(change.size, str(change.blob_sha))
            for data in pieces(self.db, content):
                hashes.update(data)
        return hashes

    def _drop_upload(self, repository: int, path: bytes) -> None:
        delete = "DELETE FROM uploads WHERE repository = ? AND path = ? RETURNING content"
        for (content,) in self.db.execute(delete, (repository, path)).fetchall():
            self.db.execute("DELETE FROM contents WHERE content = ?", (content,))
            self.hashes.pop(content, None)


def microseconds(seconds: int, timestamp: str) -> int:
    """When the message was sent, since 1970: the signed header's second and the body's fraction of it."""
    fraction = timestamp.removesuffix("Z").partition(".")[2]
    return seconds * 1_000_000 + int(fraction.ljust(6, "0")[:6])


def pieces(db: sqlite3.Connection, content: int) -> Iterator[bytes]:
    for (data,) in db.execute("SELECT bytes FROM contents WHERE content = ? ORDER BY part", (content,)):
        yield data


class Receiver:
    """Judges requests. Answers wait until what they acknowledge is committed."""

    def __init__(self, store: Store, secret_file: Path, *, app_id: str = "") -> None:
        self.store = store
        self.app_id = app_id.lower()
        self.secret_file = secret_file
        self.secrets_changed_at = 0
        self.verifiers: list[Webhook | PublicKey] = []
        self.read_secrets()
        self.counts: Counter[str] = Counter()
        self.failures: deque[dict[str, Any]] = deque(maxlen=20)
        self.per_second: deque[list[int]] = deque(maxlen=6)
        self.waiting: list[tuple[Connection, int, Counter[str]]] = []

    def read_secrets(self) -> None:
        """One secret a line, several while one is being replaced. Does nothing where the file has not changed."""
        changed_at = self.secret_file.stat().st_mtime_ns
        if changed_at == self.secrets_changed_at:
            return
        lines = self.secret_file.read_text(encoding="utf-8").split()
        if not lines:
            raise ValueError("the secret file is empty; write the app's secret into it")
        try:
            self.verifiers = [verifier(line) for line in lines]
        except ValueError as error:
            needs_package = "cryptography" in str(error)
            raise ValueError(
                str(error)
                if needs_package
                else "the secret file holds a line that is no whsec_ secret and no whpk_ key; copy the app's whole"
            ) from None
        self.secrets_changed_at = changed_at

    def verify(self, body: bytes, headers: dict[str, str]) -> None:
        """By the secrets that the file holds now: one that was taken out of it verifies nothing any more."""
        reason = unusable = ""
        try:
            self.read_secrets()
        except (OSError, ValueError):
            unusable = "; the secret file has become unusable, the old secrets stay"
        for verifier in self.verifiers:
            try:
                verifier.verify(body, headers, json_parse=False)
                return
            except WebhookVerificationError as error:
                reason = str(error)
            except ValueError:  # a signature that is no base64, a body that is no UTF-8
                reason = "Malformed signature or body"
        raise Refused(401, f"{reason}{unusable}")

    def webhook(self, connection: "Connection", headers: dict[str, str], body: bytes) -> None:
        status, counts = 204, Counter[str]()
        try:
            self.verify(body, headers)
            self.store.begin()
            message = json.loads(body)
            self.check_app(message)
            sent_at = microseconds(int(float(headers["webhook-timestamp"])), message["timestamp"])
            counts = self.take(message, headers["webhook-id"], sent_at)
        except Refused as refusal:
            status = refusal.status
            self.report(status, str(refusal))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            status = 422
            self.report(status, f"a signed message that cannot be read ({type(error).__name__})")
        except sqlite3.Error as error:
            self.waiting.append((connection, 503, Counter()))
            self.abandon(error)
            return
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self.settle)
        self.waiting.append((connection, status, counts))

    def check_app(self, message: dict[str, Any]) -> None:
        """A secret that two apps have makes the signature of either fit; the id in the body says for which it was."""
        if self.app_id and str(message["data"].get("app", {}).get("id")).lower() != self.app_id:
            raise Refused(403, "a message that is signed for another app")

    def take(self, message: dict[str, Any], webhook_id: str, sent_at: int) -> Counter[str]:
        event, data = message["type"], message["data"]
        if event == "files.batch":
            listed = [(str(item["id"]), item["type"], item["file"]) for item in data["files"]]
            if any(file.get("chunk") for _, _, file in listed):
                raise Refused(422, "a part of a file inside a batch")
        elif event.startswith("file."):
            listed = [(webhook_id, event, data["file"])]
        else:
            if event == "sync.failed":
                self.report(0, f"syncsvc says that a sync failed: {data['error_kind']}")
            return Counter({"messages": 1})
        repository, commit = self.store.repository(data["repository"]), str(data["commit"])
        changes = [read_change(*item) for item in listed]
        new = {change.id: change for change in changes if not self.store.has_seen(change.id)}
        for change in new.values():
            self.store.check_order(repository, change, sent_at)
        done = sum(self.store.apply(repository, change, commit, sent_at) for change in new.values())
        return Counter({"messages": 1, "verified": done, "repeats": len(changes) - len(new)})

    def settle(self) -> None:
        """Commits what the loop's last turn took in, then answers all of it: one commit for many requests."""
        try:
            self.store.commit()
        except sqlite3.Error as error:
            self.abandon(error)
            return
        waiting, self.waiting = self.waiting, []
        for connection, status, counts in waiting:
            self.counts.update(counts)
            self.count_rate(counts["verified"])
            connection.answer(status)

    def abandon(self, error: sqlite3.Error) -> None:
        """Nothing of the open transaction is kept, so none of its requests is acknowledged: they will come again."""
        self.report(503, f"the store cannot be written: {error}; free its disk or end what locks it")
        self.store.rollback()
        waiting, self.waiting = self.waiting, []
        for connection, _, _ in waiting:
            connection.answer(503, headers="Retry-After: 5\r\n")

    def report(self, status: int, reason: str) -> None:
        self.counts["rejected"] += status >= 400
        self.failures.append({"at": int(time.time()), "status": status or None, "reason": reason})
        print(f"receiver: {status or 'note'}: {reason}", file=sys.stderr, flush=True)

    def count_rate(self, verified: int) -> None:
        second = int(time.monotonic())
        if not self.per_second or self.per_second[-1][0] != second:
            self.per_second.append([second, 0])
        self.per_second[-1][1] += verified

    def status(self) -> dict[str, Any]:
        """`files` and `bytes` are what is stored; counts are since this process started; `rate` is of the last 5 s."""
        second = int(time.monotonic())
        recent = sum(count for when, count in self.per_second if second - 5 <= when < second)
        counted = {name: self.counts[name] for name in ("messages", "verified", "repeats", "rejected")}
        return {"files": self.store.files, "bytes": self.store.bytes, **counted, "rate": recent / 5,
                "failures": list(self.failures)}  # fmt: skip

    def look_up(self, target: str) -> tuple[int | None, AsyncIterator[bytes]]:
        """The length of the answer to a GET, if known, and its pieces."""
        url = urlsplit(target)
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/status":
            body = json.dumps(self.status()).encode() + b"\n"
            return len(body), one(body)
        if url.path not in ("/files", "/file"):
            raise Refused(404, "ask for /status, /files or /file?path_base64=…")
        db = sqlite3.connect(f"{self.store.file.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        db.execute("BEGIN")
        filters: dict[str, str] = {name: asked[name] for name in ("repository", "branch") if name in asked}
        where = "".join(f" AND {name} = :{name}" for name in filters)
        if url.path == "/files":
            return None, listing(db, where, filters)
        try:
            path = base64.b64decode(asked["path_base64"].replace(" ", "+"), validate=True)
        except (KeyError, ValueError):
            raise Refused(400, "path_base64 is missing or no base64") from None
        select = f"SELECT content, size FROM files WHERE path = :path{where}"  # noqa: S608 - `where` has fixed names
        values: dict[str, str | bytes] = {**filters, "path": path}
        found = db.execute(select, values).fetchall()
        if len(found) != 1:
            db.close()
            status, reason = (409, "add repository= and branch=") if found else (404, "no such file")
            raise Refused(status, reason)
        return found[0][1], content_of(db, found[0][0])


async def one(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def content_of(db: sqlite3.Connection, content: int) -> AsyncIterator[bytes]:
    for data in pieces(db, content):
        yield data
    db.close()


async def listing(db: sqlite3.Connection, where: str, filters: dict[str, str]) -> AsyncIterator[bytes]:
    columns = "repository, branch, path, mode, blob_sha, size"
    rows = db.execute(f"SELECT {columns} FROM files WHERE 1{where} ORDER BY 1, 2, 3", filters)  # noqa: S608 - fixed names
    while page := rows.fetchmany(500):
        lines = (
            {"repository": repository, "branch": branch, "path_base64": base64.b64encode(path).decode(), "mode": mode,
             "blob_sha": blob, "size": size}
            for repository, branch, path, mode, blob, size in page
        )  # fmt: skip
        yield "".join(json.dumps(line) + "\n" for line in lines).encode()
        await asyncio.sleep(0)
    db.close()


class Head(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    length: int
    keep_alive: bool


def parse_head(head: bytes) -> Head:
    """A request's first lines, by RFC 9112; only bodies of a known length are taken."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[1].startswith("/"):
        raise Refused(400, "no HTTP/1.1 request line")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip() or (name in ("content-length", "host") and name in headers):
            raise Refused(400, "a malformed or repeated header")
        headers[name] = value.strip(" \t")
    if words[2] == "HTTP/1.1" and "host" not in headers:
        raise Refused(400, "no Host header")
    length = headers.get("content-length", "" if words[0] == "POST" else "0")
    if "transfer-encoding" in headers or not length:
        raise Refused(411, "a body needs a Content-Length")
    if not (length.isascii() and length.isdigit()):
        raise Refused(400, "Content-Length is no number")
    if len(length) > 10 or int(length) > MAX_BODY:
        raise Refused(413, f"a body of more than {MAX_BODY} bytes")
    connection = headers.get("connection", "").lower()
    return Head(words[0], words[1], headers, int(length), words[2] == "HTTP/1.1" and "close" not in connection)


class Connection(asyncio.Protocol):
    """One keep-alive connection; its requests are answered one after another."""

    everyone: "set[Connection]" = set()  # noqa: RUF012 - shared on purpose

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.buffer = bytearray()
        self.head: Head | None = None
        self.busy = self.ending = False
        self.keep_alive = True
        self.active_at = time.monotonic()
        self.writable = asyncio.Event()
        self.writable.set()
        self.stream: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.everyone.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.everyone.discard(self)
        self.ending = True
        if self.stream:
            self.stream.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def eof_received(self) -> bool:
        self.keep_alive = False
        return self.busy

    def data_received(self, data: bytes) -> None:
        self.active_at = time.monotonic()
        if self.ending:
            return
        self.buffer += data
        if not self.busy:
            self.advance()
        elif len(self.buffer) > MAX_BODY:
            self.transport.pause_reading()

    def advance(self) -> None:
        if self.busy or self.ending:
            return
        try:
            if self.head is None and not self.read_head():
                return
        except Refused as refusal:
            self.receiver.report(refusal.status, str(refusal))
            self.keep_alive = False
            self.answer(refusal.status)
            return
        head = cast(Head, self.head)
        if len(self.buffer) < head.length:
            return
        body = bytes(memoryview(self.buffer)[: head.length])
        del self.buffer[: head.length]
        self.head = None
        self.busy = True
        self.keep_alive = self.keep_alive and head.keep_alive
        self.dispatch(head, body)

    def read_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self.buffer) >= MAX_HEAD:
                raise Refused(431, f"headers of more than {MAX_HEAD} bytes")
            return False
        self.head = parse_head(bytes(self.buffer[:end]))
        del self.buffer[: end + 4]
        if self.head.headers.get("expect", "").lower() == "100-continue" and len(self.buffer) < self.head.length:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def dispatch(self, head: Head, body: bytes) -> None:
        if head.method == "POST":
            self.receiver.webhook(self, head.headers, body)
        elif head.method != "GET":
            self.answer(405, headers="Allow: GET, POST\r\n")
        elif not ipaddress.ip_address(self.transport.get_extra_info("peername")[0]).is_loopback:
            self.answer(403)
        else:
            try:
                length, pieces = self.receiver.look_up(head.target)
            except Refused as refusal:
                self.answer(refusal.status, f"{refusal}\n".encode())
                return
            self.stream = asyncio.get_running_loop().create_task(self.send(length, pieces))

    async def send(self, length: int | None, pieces: AsyncIterator[bytes]) -> None:
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.transport.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        async for piece in pieces:
            await self.writable.wait()
            if length is None:
                self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            else:
                self.transport.write(piece)
        if length is None:
            self.transport.write(b"0\r\n\r\n")
        self.stream = None
        self.next_request()

    def answer(self, status: int, body: bytes = b"", *, headers: str = "") -> None:
        if self.transport.is_closing():
            return
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        close = "" if self.keep_alive else "Connection: close\r\n"
        self.transport.write(f"HTTP/1.1 {status} {REASONS[status]}\r\n{length}{headers}{close}\r\n".encode() + body)
        self.next_request()

    def next_request(self) -> None:
        self.busy = False
        if not self.keep_alive:
            # The rest of a refused body is read and dropped for a moment: closing at once would reset the answer away.
            self.ending = True
            self.transport.write_eof()
            asyncio.get_running_loop().call_later(1, self.transport.close)
            return
        self.transport.resume_reading()
        if self.buffer:
            asyncio.get_running_loop().call_soon(self.advance)


async def serve(receiver: Receiver, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Connection(receiver), host, port, backlog=1024)
    print(f"receiver: listening on http://{host}:{server.sockets[0].getsockname()[1]}/", flush=True)
    while not stopped.is_set():
        try:
            await asyncio.wait_for(stopped.wait(), 5)
        except TimeoutError:
            for connection in list(Connection.everyone):
                if time.monotonic() - connection.active_at > IDLE_SECONDS and connection.stream is None:
                    connection.transport.close()
    server.close()
    receiver.settle()
    for connection in list(Connection.everyone):
        connection.transport.close()
    await asyncio.sleep(0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Receives syncsvc's webhooks, checks them, keeps the files in SQLite.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one; the first line of output names it")
    parser.add_argument(
        "--secret-file", type=Path, required=True, help="the app's secret; several, one a line, in rotation"
    )
    parser.add_argument("--app-id", default="", help="the app's id: what is signed for another app is refused")
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file; made if it is missing")
    parser.add_argument(
        "--fsync", action="store_true", help="outlive a power cut too, not only the end of this process"
    )
    options = parser.parse_args()
    try:
        receiver = Receiver(Store(options.store, fsync=options.fsync), options.secret_file, app_id=options.app_id)
        asyncio.run(serve(receiver, options.host, options.port))
    except (OSError, ValueError, sqlite3.Error) as error:
        print(f"receiver: cannot start: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
