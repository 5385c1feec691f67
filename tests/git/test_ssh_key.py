"""Keys are checked when they are given: each wrong thing is called what it is."""

import base64
import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.exceptions import InvalidCredentialError
from syncsvc.git.ssh_key import check_private_key, is_rsa

PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
PPK = (
    "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 2\nAAAA\nPrivate-Lines: 1\nAAAA\n"
)


def generate(folder: Path, *options: str) -> tuple[str, str]:
    """The private and the public key that ssh-keygen writes."""
    file = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-C", "me", "-f", str(file), *options], check=True, capture_output=True)
    return file.read_text(), file.with_suffix(".pub").read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["-t", "ed25519"],
        ["-t", "rsa", "-b", "2048"],
        ["-t", "rsa", "-b", "2048", "-m", "PEM"],
        ["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        ["-t", "ecdsa", "-b", "384"],
        ["-t", "ecdsa", "-m", "PEM"],
        ["-t", "ecdsa", "-m", "PKCS8"],
    ],
    ids=" ".join,
)
def test_keys_that_ssh_reads_are_kept_as_they_are(tmp_path: Path, options: list[str]) -> None:
    private, public = generate(tmp_path, *options, "-N", "")
    kept = check_private_key(f"\n{private}\n".replace("\n", "\r\n"))
    assert kept == private.strip()
    assert check_private_key(kept) == kept
    assert is_rsa(kept) is ("rsa" in options)
    assert public_of(tmp_path, kept) == public.split()[:2]
    with pytest.raises(InvalidCredentialError, match="public key"):
        check_private_key(public)


@pytest.mark.parametrize(
    "options", [["-t", "ed25519"], ["-t", "rsa", "-b", "2048", "-m", "PEM"], ["-t", "ecdsa", "-m", "PKCS8"]]
)
def test_an_encrypted_key_is_called_that(tmp_path: Path, options: list[str]) -> None:
    private, _ = generate(tmp_path, *options, "-N", "a passphrase")
    with pytest.raises(InvalidCredentialError, match=r"passphrase.*ssh-keygen -p"):
        check_private_key(private)


def test_an_ed25519_key_in_openssls_form_is_kept_in_one_that_every_ssh_reads(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    given = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN).decode()
    kept = check_private_key(given)
    assert kept.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert public_of(tmp_path, kept) == public.decode().split()


WRONG = {
    "nothing": ("", "no private key"),
    "words": ("my key", "no private key"),
    "putty": (PPK, "PuTTY"),
    "putty 2": (PPK.replace("File-3", "File-2"), "PuTTY"),
    "ssh2 public": ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", "public key"),
    "pem public": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "public key"),
    "known host": ("git.example ssh-ed25519 AAAA", "no private key"),
    "certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "no private key"),
    "fingerprint": ("SHA256:VCL0vF9t9OBI0CZQQgA6JlGTbVD9TnTwi0Igb1ZWL94", "no private key"),
    "file name": ("~/.ssh/id_ed25519", "no private key"),
    "dsa": ("-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----", "DSA"),
    "no content": ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----", "damaged"),
    "other content": (
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        "damaged",
    ),
    "short rsa": (
        rsa.generate_private_key(65537, 1024)  # noqa: S505 - which is the point
        .private_bytes(PEM, serialization.PrivateFormat.OpenSSH, PLAIN)
        .decode()
        .replace("OPENSSH", "EC"),
        "damaged",
    ),
    "ed448": (
        ed448.Ed448PrivateKey.generate().private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN).decode(),
        "Ed448",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_usable_key_is_called_what_it_is(name: str) -> None:
    text, word = WRONG[name]
    with pytest.raises(InvalidCredentialError, match=word) as caught:
        check_private_key(text)
    assert len(str(caught.value)) > 50


@pytest.mark.parametrize(
    ("kind", "word"), [(b"sk-ssh-ed25519@openssh.com", "security key"), (b"ssh-dss", "DSA"), (b"ssh-xmss", "damaged")]
)
def test_kinds_that_cannot_serve_a_program(kind: bytes, word: str) -> None:
    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    body = (
        b"openssh-key-v1\0" + string(b"none") * 2 + string(b"") + b"\0\0\0\1" + string(string(kind)) + string(b"x" * 8)
    )
    text = base64.encodebytes(body).decode()
    with pytest.raises(InvalidCredentialError, match=word):
        check_private_key(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n")


def test_a_key_whose_lines_were_lost_or_cut_is_refused_and_shown_nowhere(tmp_path: Path) -> None:
    private, _ = generate(tmp_path, "-t", "ed25519", "-N", "")
    lines = private.strip().split("\n")
    for spoiled in (
        " ".join(lines),
        "\\n".join(lines),
        "\n".join(lines[:-1]),
        "\n".join(lines[1:]),
        "\n".join([*lines[:2], *lines[3:]]),
        private.replace("OPENSSH", "RSA"),
    ):
        with pytest.raises(InvalidCredentialError) as caught:
            check_private_key(spoiled)
        assert lines[2][:20] not in str(caught.value)


def test_a_damaged_key_is_refused_wherever_a_byte_is_wrong(tmp_path: Path) -> None:
    """Of an ECDSA key's point the library says in a way of its own that it cannot read it."""
    private, _ = generate(tmp_path, "-t", "ecdsa", "-N", "")
    first, *lines, last = private.strip().split("\n")
    content = base64.b64decode("".join(lines))
    for place in range(0, len(content), 3):
        spoiled = bytearray(content)
        spoiled[place] ^= 0x06
        text = "\n".join((first, base64.encodebytes(spoiled).decode().strip(), last))
        with contextlib.suppress(InvalidCredentialError):  # of what nobody reads, such as the comment, all is well
            check_private_key(text)
    point = content.index(b"nistp256") + content[content.index(b"nistp256") :].index(b"\x04")
    spoiled = bytearray(content)
    spoiled[point] = 2
    with pytest.raises(InvalidCredentialError, match="damaged"):
        check_private_key("\n".join((first, base64.encodebytes(spoiled).decode().strip(), last)))


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_no_text_brings_it_down(text: str) -> None:
    for given_text in (text, f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----"):
        with pytest.raises(InvalidCredentialError):
            check_private_key(given_text)


def public_of(folder: Path, private: str) -> list[str]:
    """As OpenSSH reads it."""
    file = folder / "kept"
    file.write_text(f"{private}\n")
    file.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True)
    return done.stdout.split()[:2]
