import itertools
import random
import signal
import sqlite3
from typing import Any

from tests.receiver_program.program import Program, deleted_file, parts_of, whole_file

CONTENT = random.Random(3).randbytes(2_500)


def send_part(program: Program, part: dict[str, Any]) -> int:
    chunk = part["chunk"]
    return program.send_file("file.created", part, webhook_id=f"{chunk['id']}.{chunk['index']}")


def send_parts(program: Program, parts: list[dict[str, Any]]) -> list[int]:
    return [send_part(program, part) for part in parts]


def stored_contents(program: Program) -> int:
    with sqlite3.connect(program.store) as db:
        count: int = db.execute("SELECT count(*) FROM contents").fetchone()[0]
    db.close()
    return count


def test_parts_are_joined_in_order_and_shown_only_when_complete(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    assert send_parts(program, parts[:2]) == [204, 204]
    assert program.files() == {}
    assert send_part(program, parts[2]) == 204
    assert program.files() == {b"big.bin": ("100644", CONTENT)}
    assert program.status()["verified"] == 1


def test_the_parts_of_a_file_that_is_complete_are_repeats(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    send_parts(program, parts)
    program.send_file("file.updated", whole_file(b"big.bin", b"newer"))
    assert send_parts(program, parts) == [204, 204, 204]
    assert program.files() == {b"big.bin": ("100644", b"newer")}


def test_part_0_with_the_same_id_starts_again(program: Program) -> None:
    send_parts(program, parts_of(b"big.bin", CONTENT, "one", 1_000)[:2])
    assert send_parts(program, parts_of(b"big.bin", CONTENT, "one", 700)) == [204] * 4
    assert program.files() == {b"big.bin": ("100644", CONTENT)}
    assert stored_contents(program) == 4


def test_a_part_out_of_order_is_refused_and_the_due_one_still_fits(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    assert send_part(program, parts[1]) == 409
    assert send_parts(program, [parts[0], parts[2], parts[1], parts[1], parts[2]]) == [204, 409, 204, 409, 204]
    assert program.files() == {b"big.bin": ("100644", CONTENT)}


def test_another_chunk_for_the_path_drops_the_unfinished_one(program: Program) -> None:
    old, new = parts_of(b"big.bin", CONTENT, "one", 1_000), parts_of(b"big.bin", CONTENT[::-1], "two", 1_000)
    send_parts(program, old[:2])
    assert send_part(program, new[0]) == 204
    assert send_part(program, old[2]) == 409
    assert send_parts(program, new[1:]) == [204, 204]
    assert program.files() == {b"big.bin": ("100644", CONTENT[::-1])}
    assert stored_contents(program) == 3


def test_a_whole_file_or_a_deletion_drops_the_unfinished_one(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    for event, file in (("file.updated", whole_file(b"big.bin", b"x")), ("file.deleted", deleted_file(b"big.bin"))):
        send_parts(program, parts[:2])
        assert program.send_file(event, file) == 204
        assert send_part(program, parts[2]) == 409
    assert stored_contents(program) == 0


def test_two_files_in_parts_may_interleave(program: Program) -> None:
    first, second = parts_of(b"1.bin", CONTENT, "one", 1_000), parts_of(b"2.bin", CONTENT[::-1], "two", 1_000)
    interleaved = list(itertools.chain.from_iterable(zip(first, second, strict=True)))
    assert send_parts(program, interleaved) == [204] * 6
    assert program.files() == {b"1.bin": ("100644", CONTENT), b"2.bin": ("100644", CONTENT[::-1])}


def test_parts_that_do_not_give_the_announced_file_are_dropped(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    for wrong in ({"sha256": "0" * 64}, {"content": "AAAA"}, {"content": parts[0]["content"]}):
        send_parts(program, parts[:2])
        assert send_part(program, parts[2] | wrong) == 422
    assert program.files() == {}
    assert stored_contents(program) == 0
    assert send_parts(program, parts) == [204] * 3


def test_a_part_that_describes_another_file_is_refused(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    assert send_parts(program, [parts[0], parts[1] | {"blob_sha": "0" * 40}]) == [204, 409]


def test_a_file_can_be_continued_after_the_receiver_was_killed(program: Program) -> None:
    parts = parts_of(b"big.bin", CONTENT, "one", 1_000)
    send_parts(program, parts[:2])
    program.stop(signal.SIGKILL)
    program.start()
    assert send_part(program, parts[2]) == 204
    assert program.files() == {b"big.bin": ("100644", CONTENT)}
