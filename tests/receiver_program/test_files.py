import sqlite3
import uuid
from typing import Any

import pytest

from tests.receiver_program.program import REPOSITORY, Program, blob_sha, deleted_file, whole_file


def test_updates_replace_and_deletes_remove(program: Program) -> None:
    program.send_file("file.created", whole_file(b"a.md", b"one"))
    program.send_file("file.created", whole_file(b"b.md", b"two"))
    assert program.send_file("file.updated", whole_file(b"a.md", b"three", mode="100755")) == 204
    assert program.send_file("file.deleted", deleted_file(b"b.md")) == 204
    assert program.files() == {b"a.md": ("100755", b"three")}
    status = program.status()
    assert (status["files"], status["bytes"], status["verified"], status["rejected"]) == (1, 5, 4, 0)


def test_an_update_of_an_unknown_path_is_kept_and_a_delete_of_one_is_acknowledged(program: Program) -> None:
    assert program.send_file("file.updated", whole_file(b"new.md", b"x")) == 204
    assert program.send_file("file.deleted", deleted_file(b"never.md")) == 204
    assert list(program.files()) == [b"new.md"]


def test_a_repeat_is_acknowledged_and_changes_nothing(program: Program) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    program.send_file("file.created", whole_file(b"a.md", b"one"), webhook_id=first)
    program.send_file("file.updated", whole_file(b"a.md", b"two"), webhook_id=second)
    assert program.send_file("file.created", whole_file(b"a.md", b"one"), webhook_id=first) == 204
    assert program.files() == {b"a.md": ("100644", b"two")}
    assert program.status()["repeats"] == 1


def test_what_was_sent_earlier_than_what_is_held_is_not_acknowledged(program: Program) -> None:
    program.send_file("file.created", whole_file(b"a.md", b"newer"))
    program.send_file("file.deleted", deleted_file(b"b.md"))
    assert program.send_file("file.created", whole_file(b"a.md", b"older"), age=60) == 409
    assert program.send_file("file.created", whole_file(b"b.md", b"older"), age=60) == 409
    assert program.files() == {b"a.md": ("100644", b"newer")}


def test_a_batch_is_taken_together_and_its_files_are_known_by_their_ids(program: Program) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    program.send_file("file.created", whole_file(b"old.md", b"old"), webhook_id=ids[2])
    batch = [
        (ids[0], "file.created", whole_file(b"a.md", b"a")),
        (ids[1], "file.deleted", deleted_file(b"old.md")),
        (ids[2], "file.created", whole_file(b"old.md", b"old")),
    ]
    assert program.send_batch(*batch) == 204
    assert program.send_batch(*batch, webhook_id="another") == 204
    assert program.send_file("file.created", batch[0][2], webhook_id=ids[0]) == 204
    assert program.files() == {b"a.md": ("100644", b"a")}
    assert program.status()["repeats"] == 5


def test_a_batch_with_one_wrong_file_is_refused_whole(program: Program) -> None:
    wrong = whole_file(b"b.md", b"b") | {"content": "c"}
    assert program.send_batch(("1", "file.created", whole_file(b"a.md", b"a")), ("2", "file.created", wrong)) == 422
    assert program.files() == {}
    assert program.send_file("file.created", whole_file(b"a.md", b"a"), webhook_id="1") == 204


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"sha256": None},
        {"blob_sha": "0" * 40},
        {"blob_sha": "0" * 64},
        {"size": 4},
        {"size": -1},
        {"size": 10**30},
        {"encoding": "base64"},
        {"content": None},
        {"content": "\ud800"},
        {"mode": None},
        {"mode": ["100644"]},
        {"path": ""},
        {"path_base64": "%%"},
        {"chunk": {"id": "x", "index": 2, "total": 2}},
        {"chunk": {"id": "x", "index": -1, "total": 1}},
        {"chunk": []},
    ],
)
def test_a_signed_file_that_does_not_add_up_is_refused(program: Program, change: dict[str, Any]) -> None:
    refused = 422 if change != {"chunk": []} else 204  # an empty chunk is none
    assert program.send_file("file.created", whole_file(b"a.md", b"alpha") | change) == refused
    assert program.send_file("file.created", whole_file(b"b.md", b"beta")) == 204


@pytest.mark.parametrize(
    "data", [{}, {"repository": REPOSITORY, "commit": "c"}, {"repository": REPOSITORY, "file": {}}]
)
def test_a_signed_message_without_what_it_needs_is_refused(program: Program, data: dict[str, Any]) -> None:
    assert program.send("file.created", data) == 422


def test_files_of_sha256_repositories_are_checked_by_their_longer_blob_name(program: Program) -> None:
    file = whole_file(b"a.md", b"alpha") | {"blob_sha": blob_sha(b"alpha", "sha256")}
    assert program.send_file("file.created", file) == 204
    assert program.send_file("file.updated", file | {"content": "alphb"}) == 422


def test_repositories_and_branches_are_kept_apart(program: Program) -> None:
    other_branch, other = REPOSITORY | {"branch": "next"}, REPOSITORY | {"id": "other"}
    program.send_file("file.created", whole_file(b"a.md", b"1"))
    program.send_file("file.created", whole_file(b"a.md", b"2"), repository=other_branch)
    program.send_file("file.created", whole_file(b"a.md", b"3"), repository=other)
    program.send_file("file.deleted", deleted_file(b"a.md"), repository=other)
    assert [(line["repository"], line["branch"]) for line in program.listed()] == [
        (REPOSITORY["id"], "main"),
        (REPOSITORY["id"], "next"),
    ]
    assert program.get("/file?path_base64=YS5tZA==")[0] == 409
    assert program.get("/file?path_base64=YS5tZA==&branch=next") == (200, b"2")
    assert len(program.listed("?branch=main")) == 1


def test_odd_paths_and_contents_arrive_as_they_are(program: Program) -> None:
    odd = {
        b"with space/and\nnewline": b"crlf\r\n",
        b'quo"te\\back': b"",
        "emoji \N{GRINNING FACE}".encode(): b"\x00\xff\x80 binary",
        b"not-utf8-\xff\xfe": b"x",
        b"%FF": b"percent",
        b"n" * 300: "text é \u2028".encode(),
    }
    for path, content in odd.items():
        assert program.send_file("file.created", whole_file(path, content)) == 204
    assert program.files() == {path: ("100644", content) for path, content in odd.items()}
    assert list(program.files()) == sorted(odd)


def test_nothing_is_written_outside_the_store(program: Program) -> None:
    outside = program.folder / "outside"
    outside.mkdir()
    hostile = {
        b"../outside/escaped": ("100644", b"x"),
        str(outside / "absolute").encode(): ("100755", b"x"),
        b"link": ("120000", str(outside).encode()),
        b"link/through": ("100644", b"x"),
        b".git/hooks/post-checkout": ("100755", b"x"),
    }
    for path, (mode, content) in hostile.items():
        assert program.send_file("file.created", whole_file(path, content, mode=mode)) == 204
    assert program.files() == hostile
    assert list(outside.iterdir()) == []
    written = {file.name.removeprefix("received.sqlite3") for file in program.store.parent.iterdir()}
    assert written <= {"", "-wal", "-shm"}
    assert {entry.name for entry in program.folder.iterdir()} == {"errors.log", "outside", "secret", "store"}


def test_the_store_can_be_read_with_sql_while_the_receiver_runs(program: Program) -> None:
    program.send_file("file.created", whole_file(b"a.md", b"alpha"))
    with sqlite3.connect(program.store) as db:
        rows = db.execute("SELECT path, mode, bytes FROM files JOIN contents USING (content)").fetchall()
    db.close()
    assert rows == [(b"a.md", "100644", b"alpha")]


def test_other_messages_are_acknowledged(program: Program) -> None:
    failed = {"repository": REPOSITORY, "sync_run": "1", "error_kind": "git_auth", "error": "x", "next_try": None}
    assert program.send("sync.failed", failed) == 204
    assert program.send("ping", {"app": {"id": "1", "name": "demo"}}) == 204
    assert program.send("something.new", {}) == 204
    assert "git_auth" in program.status()["failures"][0]["reason"]
