"""A message that somebody recorded: sent again, held back for later, or sent to another app with the same secret."""

import json
import random
import sqlite3
import time
import uuid
from typing import Any

import pytest

from tests.receiver_program.program import Program, deleted_file, message, new_secret, parts_of, signature, whole_file

FILE = whole_file(b"a.md", b"alpha\n")
APP = "7a1de0c3-9d54-4d3e-8a0e-5d0f1c6b2e42"
OTHER = "11111111-9d54-4d3e-8a0e-5d0f1c6b2e42"
CONTENT = random.Random(5).randbytes(2_500)


class Recorded:
    """One signed message, to be sent as often as a test likes."""

    def __init__(
        self,
        program: Program,
        event: str,
        file: dict[str, Any] | None = None,
        *,
        app_id: str = APP,
        webhook_id: str = "",
        sent_at: float = 0,
        data: dict[str, Any] | None = None,
    ) -> None:
        sent_at = sent_at or time.time()
        repository = {"id": "r", "url": "https://git.example/r.git", "branch": "main"}
        content = {"app": {"id": app_id}, "repository": repository, "commit": "c" * 40, "sync_run": "1", **(data or {})}
        if file is not None:
            content["file"] = file
        document = json.loads(message(event, content))
        document["timestamp"] = f"2026-11-24T10:00:00.{int(sent_at % 1 * 1_000_000):06}Z"
        self.body = json.dumps(document).encode()
        webhook_id = webhook_id or str(uuid.uuid4())
        self.headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(sent_at)),
            "webhook-signature": signature(program.secret, webhook_id, int(sent_at), self.body),
        }

    def arrives(self, program: Program) -> int:
        return program.post(self.body, self.headers)


@pytest.fixture
def second() -> float:
    """A whole second that is not long ago."""
    return float(int(time.time()) - 5)


def restart(program: Program, *options: str) -> None:
    program.stop()
    program.start(*options)


def every_event(program: Program, app_id: str) -> list[Recorded]:
    batch = {"files": [{"id": str(uuid.uuid4()), "type": "file.created", "file": FILE}]}
    return [
        Recorded(program, "file.created", FILE, app_id=app_id),
        Recorded(program, "file.deleted", deleted_file(b"a.md"), app_id=app_id),
        Recorded(program, "files.batch", app_id=app_id, data=batch),
        Recorded(program, "ping", app_id=app_id, data={"app": {"id": app_id, "name": "x"}}),
        Recorded(program, "sync.failed", app_id=app_id, data={"error_kind": "git_timeout"}),
    ]


def test_what_is_signed_for_another_app_is_refused(program: Program) -> None:
    restart(program, "--app-id", APP.upper())

    assert [each.arrives(program) for each in every_event(program, OTHER)] == [403] * 5
    assert program.files() == {}
    assert [each.arrives(program) for each in every_event(program, APP)] == [204] * 5


@pytest.mark.parametrize("named", [{}, None, [], "", {"id": None}, {"name": APP}])
def test_what_names_no_app_is_refused_where_one_is_expected(named: Any, program: Program) -> None:
    restart(program, "--app-id", APP)
    assert Recorded(program, "file.created", FILE, data={"app": named}).arrives(program) in (403, 422)
    assert program.files() == {}


def test_a_recorded_message_changes_nothing_when_it_comes_again(program: Program) -> None:
    first = Recorded(program, "file.created", FILE)
    assert first.arrives(program) == 204
    assert Recorded(program, "file.deleted", deleted_file(b"a.md")).arrives(program) == 204

    assert first.arrives(program) == 204

    assert program.files() == {}
    assert program.status()["repeats"] == 1


def test_a_message_that_was_held_back_does_not_undo_a_newer_one_of_its_second(program: Program, second: float) -> None:
    held_back = Recorded(program, "file.created", FILE, sent_at=second + 0.1)
    newer = Recorded(program, "file.updated", whole_file(b"a.md", b"newer\n"), sent_at=second + 0.9)
    assert newer.arrives(program) == 204

    assert held_back.arrives(program) == 409

    assert program.files() == {b"a.md": ("100644", b"newer\n")}


def test_a_recorded_first_part_does_not_take_back_the_parts_after_it(program: Program, second: float) -> None:
    parts = [
        Recorded(program, "file.created", part, webhook_id=f"one.{n}", sent_at=second + 0.1 * n)
        for n, part in enumerate(parts_of(b"big.bin", CONTENT, "one", 1_000))
    ]
    assert [part.arrives(program) for part in parts[:2]] == [204, 204]

    assert parts[0].arrives(program) == 409

    assert parts[2].arrives(program) == 204
    assert program.files() == {b"big.bin": ("100644", CONTENT)}


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_an_old_message_with_a_new_id_or_time_is_refused(header: str, program: Program) -> None:
    recorded = Recorded(program, "file.created", FILE, sent_at=time.time() - 600)
    recorded.headers[header] = str(int(time.time()))
    assert recorded.arrives(program) == 401


def test_a_store_of_an_older_receiver_is_used_on(program: Program) -> None:
    program.stop()
    program.store.unlink()
    with sqlite3.connect(program.store) as db:
        db.execute(
            "CREATE TABLE uploads (repository INTEGER NOT NULL, path BLOB NOT NULL, content INTEGER NOT NULL,"
            " chunk_id TEXT NOT NULL, description TEXT NOT NULL, next_part INTEGER NOT NULL,"
            " received INTEGER NOT NULL, PRIMARY KEY (repository, path))"
        )
    db.close()
    program.start()
    for part in parts_of(b"big.bin", CONTENT, "one", 1_000):
        assert program.send_file("file.created", part) == 204
    assert program.files() == {b"big.bin": ("100644", CONTENT)}


def test_a_secret_that_is_taken_out_of_the_file_verifies_nothing_any_more(program: Program) -> None:
    """Also where another one has verified all that came since."""
    leaked, new = program.secret, new_secret()
    program.secret_file.write_text(f"{new}\n{leaked}\n", encoding="ascii")
    assert [program.send_file("file.created", FILE, secrets=(one,)) for one in (new, leaked)] == [204, 204]

    program.secret_file.write_text(f"{new}\n", encoding="ascii")

    assert [program.send_file("file.created", FILE, secrets=(one,)) for one in (new, leaked)] == [204, 401]
