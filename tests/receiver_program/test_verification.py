import base64
import os
import runpy
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.receiver_program.program import RECEIVER, Program, message, new_secret, whole_file

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


def key_pair() -> tuple[Ed25519PrivateKey, str]:
    key = Ed25519PrivateKey.generate()
    return key, f"whpk_{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"


def send_signed(program: Program, key: Ed25519PrivateKey, *, age: int = 0, body: bytes = b"", also: str = "") -> int:
    sent, webhook_id, timestamp = message("ping", {"app": {"id": "1"}}), "id-1", str(int(time.time()) - age)
    signature = base64.b64encode(key.sign(f"{webhook_id}.{timestamp}.".encode() + sent)).decode()
    headers = {"webhook-id": webhook_id, "webhook-timestamp": timestamp}
    return program.post(body or sent, {**headers, "webhook-signature": f"{also}v1a,{signature}"})


def test_a_public_key_verifies_what_its_private_key_signed(program: Program) -> None:
    key, public = key_pair()
    program.secret_file.write_text(f"{public}\n", encoding="ascii")
    assert send_signed(program, key) == 204
    assert send_signed(program, key, also="v1,AAAA v1a,%% v2,x nonsense ") == 204
    assert send_signed(program, Ed25519PrivateKey.generate()) == 401
    assert send_signed(program, key, body=message("ping", {"app": {"id": "2"}})) == 401
    assert [send_signed(program, key, age=age) for age in (600, -600)] == [401, 401]


def test_while_keys_are_exchanged_either_verifies(program: Program) -> None:
    key, public = key_pair()
    program.secret_file.write_text(f"{program.secret}\n{public}\n", encoding="ascii")
    assert send_signed(program, key) == 204
    assert program.send("ping", {"app": {"id": "1", "name": "demo"}}) == 204


@pytest.mark.parametrize("prefix", ["whpk_", "whsec_", ""])
def test_who_knows_the_public_key_can_sign_nothing_with_it(prefix: str, program: Program) -> None:
    """Neither as if it were the key of an HMAC, in whatever way it may have been decoded."""
    _, public = key_pair()
    program.secret_file.write_text(f"{public}\n", encoding="ascii")
    assert program.send("ping", {"app": {"id": "1"}}, secrets=(prefix + public.removeprefix("whpk_"),)) == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-id": "1", "webhook-timestamp": "9" * 15, "webhook-signature": "v1a,AAAA"},
        {"webhook-id": "1", "webhook-timestamp": "nan", "webhook-signature": "v1a,AAAA"},
        {"webhook-id": "1", "webhook-timestamp": "²", "webhook-signature": "v1a,AAAA"},
        {"webhook-id": "é", "webhook-timestamp": "1", "webhook-signature": "v1a"},
        {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1a," * 3000},
        {"webhook-signature": "v1a,AAAA"},
        {},
    ],
)
def test_senseless_headers_are_refused_by_a_public_key_too(program: Program, headers: dict[str, str]) -> None:
    program.secret_file.write_text(f"{key_pair()[1]}\n", encoding="ascii")
    assert program.post(message("ping", {}), headers) == 401


@pytest.mark.parametrize("line", ["whsk_AAAA", "whpk_AAAA", "whpk_%%"])
def test_a_key_that_is_none_is_said_at_the_start(line: str, program: Program) -> None:
    program.stop()
    program.secret_file.write_text(f"{line}\n", encoding="ascii")
    with pytest.raises(AssertionError, match=r"cannot start: the secret file"):
        program.start()
    program.process.wait(10)
    assert program.process.stdout is not None
    program.process.stdout.close()
    assert line not in program.errors.read_text()


KEY = f"{'A' * 43}="
VERIFIER = runpy.run_path(str(RECEIVER))["verifier"]


@pytest.mark.parametrize(
    "line",
    [
        *(KEY, f"WHPK_{KEY}", f"whsec_whpk_{KEY}", f"pk_{KEY}", f"v1a,{KEY}", f"whsk_{KEY}"),
        *("whsec_", "whsec_AAAA", f"whsec_{'A' * 43}", "whsec_%%", f"Whsec_{KEY}", "secret:", "old", "#"),
    ],
)
def test_what_is_neither_secret_nor_public_key_is_no_key_of_an_hmac(line: str) -> None:
    """A public key that has lost its prefix is known to everybody, and so is a word of a remark."""
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        VERIFIER(line)
    assert VERIFIER(f"whsec_{KEY}")
