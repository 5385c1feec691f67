"""The JSON that webhooks carry; docs/webhooks.md is its description for receivers."""

import re
import uuid
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from syncsvc.types import Change, ChangeKind, ErrorKind

TYPES = {kind: f"file.{kind.value}" for kind in ChangeKind}
BATCH_NAMESPACE = uuid.UUID("6a1f7a52-8a0e-4f0e-9a57-0d5c1c3c6b0e")
NOT_UTF8 = re.compile("[\udc80-\udcff]")

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """The repository a webhook is about. `url` is without credentials."""

    repository_id: str
    url: str
    branch: str

    def json(self) -> Json:
        return {"id": self.repository_id, "url": self.url, "branch": self.branch}


class Payload:
    """Bodies of one run's webhooks. Every change must have its id by now."""

    __slots__ = ("_about",)

    def __init__(self, origin: Origin, commit: str, sync_run: str, *, app_id: str) -> None:
        """`app_id` names the app that the run's webhooks are for: a receiver refuses those of another app."""
        about = {"app": {"id": app_id}, "repository": origin.json(), "commit": commit, "sync_run": sync_run}
        # Encoded once a run.
        self._about = {name: orjson.Fragment(orjson.dumps(value)) for name, value in about.items()}

    def single(self, change: Change, content: bytes | None, timestamp: str) -> bytes:
        """A body for one file; `content` is the whole blob, None for a deletion."""
        return self._body(TYPES[change.kind], timestamp, {"file": _file(change, content)})

    def part(self, change: Change, part: bytes, index: int, total: int, sha256: str | None, timestamp: str) -> bytes:
        """A body for part `index` (from 0) of `total`; `sha256` is the whole file's, known with the last part only."""
        file = {
            **_described(change, sha256),
            "encoding": "base64",
            "content": b64encode(part).decode(),
            "chunk": {"id": change.id, "index": index, "total": total},
        }
        return self._body(TYPES[change.kind], timestamp, {"file": file})

    def batch_item(self, change: Change, content: bytes | None) -> bytes:
        """One file of a batch, ready for `batch`; its length counts towards the batch's."""
        return orjson.dumps({"id": change.id, "type": TYPES[change.kind], "file": _file(change, content)})

    def batch(self, items: Sequence[bytes], timestamp: str) -> bytes:
        return self._body("files.batch", timestamp, {"files": [orjson.Fragment(item) for item in items]})

    def _body(self, kind: str, timestamp: str, data: Json) -> bytes:
        return orjson.dumps({"type": kind, "timestamp": timestamp, "data": {**self._about, **data}})


def sync_failed(
    origin: Origin,
    sync_run: str,
    *,
    app_id: str,
    kind: ErrorKind,
    error: str,
    failing_since: datetime,
    next_try: datetime | None,
    timestamp: str,
) -> bytes:
    data = {
        "app": {"id": app_id},
        "repository": origin.json(),
        "sync_run": sync_run,
        "error_kind": kind.value,
        "error": error,
        "failing_since": timestamp_text(failing_since),
        "next_try": next_try and timestamp_text(next_try),
    }
    return orjson.dumps({"type": "sync.failed", "timestamp": timestamp, "data": data})


def ping(app_id: str, name: str, timestamp: str) -> bytes:
    return orjson.dumps({"type": "ping", "timestamp": timestamp, "data": {"app": {"id": app_id, "name": name}}})


def batch_id(ids: Sequence[str]) -> str:
    """The same for the same files in whatever order they travel."""
    return str(uuid.uuid5(BATCH_NAMESPACE, "\n".join(sorted(ids))))


def timestamp_now() -> str:
    return timestamp_text(datetime.now(UTC))


def timestamp_text(moment: datetime) -> str:
    """Like 2026-11-24T10:00:00.123456Z; `moment` must know its time zone."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class SendingTimes:
    """Times of sending as text, each like `timestamp_text`; all of one second share their beginning."""

    def __init__(self) -> None:
        self._second, self._begin = -1, ""

    def text(self, now: float) -> str:
        """`now` is in seconds since 1970."""
        second, microseconds = divmod(round(now * 1_000_000), 1_000_000)
        if second != self._second:
            self._second, self._begin = second, datetime.fromtimestamp(second, UTC).isoformat()[:19]
        return f"{self._begin}.{microseconds:06}Z"


def path_fields(path: bytes) -> dict[str, str]:
    """`path`, and `path_base64` too where git's bytes are not UTF-8: only that one tells `%FF` and byte FF apart."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        escaped = NOT_UTF8.sub(_percent, path.decode(errors="surrogateescape"))
        return {"path": escaped, "path_base64": b64encode(path).decode()}


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]) - 0xDC00:02X}"


def _file(change: Change, content: bytes | None) -> Json:
    if content is None:
        return {**_described(change, None), "encoding": None, "content": None}
    encoding, text = _encoded(content)
    return {**_described(change, sha256(content).hexdigest()), "encoding": encoding, "content": text}


def _described(change: Change, sha256: str | None) -> Json:
    return {
        **path_fields(change.path),
        "mode": change.mode,
        "blob_sha": change.blob,
        "previous_blob_sha": change.previous_blob,
        "sha256": sha256,
        "size": None if change.kind is ChangeKind.DELETED else change.size,
    }


def _encoded(content: bytes) -> tuple[str, str]:
    try:
        return "utf-8", content.decode()
    except UnicodeDecodeError:
        return "base64", b64encode(content).decode()
