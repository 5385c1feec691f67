import os

import pytest

from tests.receiver_program.program import Program, message, new_secret, whole_file

FILE = whole_file(b"a.md", b"alpha\n")


def test_a_signed_file_is_kept(program: Program) -> None:
    assert program.send_file("file.created", FILE) == 204
    assert program.files() == {b"a.md": ("100644", b"alpha\n")}


def test_a_signature_with_another_secret_is_refused(program: Program) -> None:
    assert program.send_file("file.created", FILE, secrets=(new_secret(),)) == 401
    assert program.files() == {}
    assert program.status()["rejected"] == 1


def test_a_message_with_two_signatures_is_taken_during_rotation(program: Program) -> None:
    assert program.send_file("file.created", FILE, secrets=(new_secret(), program.secret)) == 204


def test_each_secret_of_the_file_is_accepted_and_a_changed_file_is_read_again(program: Program) -> None:
    second = new_secret()
    assert program.send("ping", {"app": {"id": "1", "name": "demo"}}, secrets=(second,)) == 401
    program.secret_file.write_text(f"{program.secret}\n{second}\n", encoding="ascii")
    assert program.send("ping", {"app": {"id": "1", "name": "demo"}}, secrets=(second,)) == 204
    assert program.send("ping", {"app": {"id": "1", "name": "demo"}}) == 204


def test_a_secret_file_that_became_unusable_leaves_the_old_secrets_in_use(program: Program) -> None:
    program.secret_file.write_text("", encoding="ascii")
    os.utime(program.secret_file, (1, 1))
    assert program.send_file("file.created", FILE, secrets=(new_secret(),)) == 401
    assert program.send_file("file.created", FILE) == 204


@pytest.mark.parametrize("age", [600, -600])
def test_a_timestamp_far_from_now_is_refused(program: Program, age: int) -> None:
    assert program.send_file("file.created", FILE, age=age) == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"},
        {"webhook-id": "1", "webhook-timestamp": "nan", "webhook-signature": "v1,AAAA"},
        {"webhook-id": "1", "webhook-timestamp": "9" * 40, "webhook-signature": "v1"},
        {"webhook-id": "1", "webhook-timestamp": "0", "webhook-signature": "v1,%%% v1a,x"},
    ],
)
def test_headers_that_are_missing_or_senseless_are_refused(program: Program, headers: dict[str, str]) -> None:
    assert program.post(message("ping", {}), headers) == 401


def test_neither_secret_nor_content_is_logged(program: Program) -> None:
    wrong = whole_file(b"a.md", b"confidential") | {"sha256": "0" * 64}
    assert program.send_file("file.created", wrong) == 422
    assert program.send_file("file.created", FILE, secrets=(new_secret(),)) == 401
    log = program.errors.read_text()
    assert len(log.splitlines()) == 2
    assert "confidential" not in log
    assert program.secret not in log
