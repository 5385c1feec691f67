import hashlib
import json
import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsvc.delivery.payload import (
    Origin,
    Payload,
    SendingTimes,
    batch_id,
    path_fields,
    ping,
    sync_failed,
    timestamp_now,
    timestamp_text,
)
from syncsvc.types import SYMLINK_MODE, Change, ChangeKind, ErrorKind

GOLDEN = Path(__file__).parent / "golden"
AT = "2026-11-24T10:00:00.123456Z"
ORIGIN = Origin("0b7c6f0e-1111-4000-8000-000000000001", "https://git.example.com/team/site.git", "main")
APP = "0b7c6f0e-4444-4000-8000-000000000004"
PAYLOAD = Payload(ORIGIN, "c" * 40, "0b7c6f0e-2222-4000-8000-000000000002", app_id=APP)
CREATED = Change(ChangeKind.CREATED, b"docs/a.md", "100644", "a" * 40, 6, None, "0b7c6f0e-3333-4000-8000-000000000003")
UPDATED = CREATED._replace(kind=ChangeKind.UPDATED, mode="100755", previous_blob="b" * 40)
DELETED = CREATED._replace(kind=ChangeKind.DELETED, mode=None, blob=None, size=0, previous_blob="b" * 40)
LINK = CREATED._replace(path=b"latest", mode=SYMLINK_MODE, size=9)
LARGE = CREATED._replace(path=b"film.bin", size=7)
SHA256 = hashlib.sha256(b"\x00\x01\x02\x03\x04\x05\x06").hexdigest()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def failure(kind: ErrorKind, error: str, next_try: datetime | None) -> bytes:
    run = "0b7c6f0e-2222-4000-8000-000000000002"
    return sync_failed(
        ORIGIN, run, app_id=APP, kind=kind, error=error, failing_since=NOON, next_try=next_try, timestamp=AT
    )


DOCUMENTS = {
    "file.created": PAYLOAD.single(CREATED, b"Hi \xc3\xa4\n", AT),
    "file.created-symlink": PAYLOAD.single(LINK, b"docs/a.md", AT),
    "file.created-binary-at-a-path-that-is-not-utf-8": PAYLOAD.single(
        CREATED._replace(path=b"caf\xe9 %E9.bin", size=2), b"\xff\x00", AT
    ),
    "file.updated": PAYLOAD.single(UPDATED, b"Hi \xc3\xa4\n", AT),
    "file.deleted": PAYLOAD.single(DELETED, None, AT),
    "file.created-first-part": PAYLOAD.part(LARGE, b"\x00\x01\x02\x03", 0, 2, None, AT),
    "file.created-last-part": PAYLOAD.part(LARGE, b"\x04\x05\x06", 1, 2, SHA256, AT),
    "files.batch": PAYLOAD.batch(
        [PAYLOAD.batch_item(DELETED, None), PAYLOAD.batch_item(UPDATED, b"Hi \xc3\xa4\n")], AT
    ),
    "sync.failed": failure(ErrorKind.GIT_TIMEOUT, "The remote did not answer.", NOON + timedelta(hours=1)),
    "sync.failed-held": failure(ErrorKind.MASS_DELETE_HELD, "12 of 20 files would be deleted.", None),
    "ping": ping(APP, "search", AT),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_as_written_down(name: str) -> None:
    assert json.loads(DOCUMENTS[name]) == json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def test_every_document_written_down_is_tested() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_names_its_app(name: str) -> None:
    assert json.loads(DOCUMENTS[name])["data"]["app"]["id"] == APP


def names_in(document: Any) -> set[str]:
    if isinstance(document, dict):
        return set(document).union(*map(names_in, document.values()))
    return set().union(*map(names_in, document)) if isinstance(document, list) else set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_is_described_to_receivers(name: str) -> None:
    described = (GOLDEN.parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
    fields = names_in(json.loads(DOCUMENTS[name]))
    assert [field for field in fields if f'"{field}"' not in described and f"`{field}`" not in described] == []


def file_of(body: bytes) -> dict[str, Any]:
    file: dict[str, Any] = json.loads(body)["data"]["file"]
    return file


def content_of(file: dict[str, Any]) -> bytes:
    text: str = file["content"]
    return b64decode(text) if file["encoding"] == "base64" else text.encode()


def path_of(fields: dict[str, str]) -> bytes:
    return b64decode(fields["path_base64"]) if "path_base64" in fields else fields["path"].encode()


@given(st.binary() | st.text().map(str.encode))
@example(b"")
@example(b"\r\n\x00\xef\xbb\xbf")
@example(b"\xef\xbb\xbfwith a byte order mark")
@example(b"\xed\xa0\x80 is no UTF-8")
def test_content_comes_back_byte_for_byte(content: bytes) -> None:
    change = CREATED._replace(size=len(content))
    file = file_of(PAYLOAD.single(change, content, AT))
    assert content_of(file) == content
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["size"] == len(content)
    item = json.loads(PAYLOAD.batch([PAYLOAD.batch_item(change, content)], AT))["data"]["files"][0]
    assert item == {"id": change.id, "type": "file.created", "file": file}


@given(st.binary(min_size=1) | st.text(min_size=1).map(str.encode))
@example(b"%FF")
@example(b"\xff")
@example(b'quote" back\\slash new\nline \xf0\x9f\x98\x80')
def test_paths_come_back_byte_for_byte(path: bytes) -> None:
    assert path_of(json.loads(json.dumps(path_fields(path)))) == path
    assert path_of(file_of(PAYLOAD.single(CREATED._replace(path=path), b"", AT))) == path


@given(st.binary(min_size=1), st.integers(1, 7))
def test_parts_join_to_the_whole(content: bytes, length: int) -> None:
    pieces = [content[start : start + length] for start in range(0, len(content), length)]
    change = CREATED._replace(size=len(content))
    files = [file_of(PAYLOAD.part(change, piece, n, len(pieces), None, AT)) for n, piece in enumerate(pieces)]
    assert b"".join(map(content_of, files)) == content
    assert [file["chunk"] for file in files] == [
        {"id": change.id, "index": n, "total": len(pieces)} for n in range(len(pieces))
    ]
    assert {file["size"] for file in files} == {len(content)}


def test_only_the_base64_tells_a_percent_sign_from_an_escaped_byte() -> None:
    assert path_fields(b"%FF") == {"path": "%FF"}
    assert path_fields(b"\xff") == {"path": "%FF", "path_base64": "/w=="}


def test_a_batch_id_depends_on_which_files_and_not_on_their_order() -> None:
    assert batch_id(["a", "b"]) == batch_id(["b", "a"])
    assert len({batch_id(["a", "b"]), batch_id(["a"]), batch_id(["a", "c"]), batch_id(["ab"])}) == 4
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", batch_id(["a"]))


def test_timestamps_are_utc_with_microseconds_always() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", timestamp_now())
    assert timestamp_text(NOON.astimezone(timezone(timedelta(hours=-7)))) == "2026-11-24T12:00:00.000000Z"


@given(st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 999_999)), max_size=5))
@example([(0, 0), (0, 999_999), (1, 0), (1, 1), (0, 5)])
def test_times_of_sending_read_like_any_timestamp(moments: list[tuple[int, int]]) -> None:
    times = SendingTimes()
    for second, microsecond in moments:
        moment = datetime.fromtimestamp(second, UTC).replace(microsecond=microsecond)
        assert times.text(second + microsecond / 1_000_000) == timestamp_text(moment)
