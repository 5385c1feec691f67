"""Client certificates and their keys: what is taken, whether they go together, and when they end."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from syncsvc.delivery.client_certificate import check_client_key, describe, fits
from tests.delivery.authority import Authority
from tests.keys import private_key

EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, form: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.mark.parametrize(
    "key",
    [
        pem(EC, PrivateFormat.PKCS8),
        pem(EC, PrivateFormat.TraditionalOpenSSL),
        pem(rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL),
        pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
        f"\n  {pem(EC, PrivateFormat.PKCS8)}\n",
    ],
)
def test_keys_of_any_usual_form_are_stored_in_one(key: str) -> None:
    stored = check_client_key(key)
    assert stored.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert check_client_key(stored) == stored


LOCKED = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")).decode()
LOCKED_OLD = EC.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"p")).decode()
PUBLIC = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("hunter2", "no private key in PEM"),
        (PUBLIC, "no private key in PEM"),
        (pem(EC, PrivateFormat.PKCS8) * 2, "no private key in PEM"),
        (LOCKED, "passphrase"),
        (LOCKED_OLD, "passphrase"),
        (pem(EC, PrivateFormat.PKCS8).replace("M", "N"), "damaged"),
        ("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----", "damaged"),
        (private_key().replace("\n", "\n!", 3), "no private key in PEM|damaged"),
    ],
)
def test_what_is_no_usable_key_is_refused_without_being_repeated(key: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        check_client_key(key)
    assert not any(line in str(error.value) for line in key.splitlines() if len(line) > 30)


def test_a_key_fits_the_first_certificate_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (mine, key), (others, others_key) = authority.client(), authority.client("other")
    assert fits(mine, key)
    assert fits(mine + others, key)
    assert not fits(others + mine, key)
    assert not fits(mine, others_key)
    assert not fits(mine, pem(rsa.generate_private_key(65537, 2048), PrivateFormat.PKCS8))


def test_a_certificate_is_described_as_openssl_does(tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path).client("the client")
    (described,) = describe(certificate)
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=certificate, capture_output=True, text=True
    ).stdout
    assert shown.strip().partition("=")[2].replace(":", "").lower() == described.sha256
    assert (described.subject, described.issuer) == ("CN=the client", "CN=A test's authority")


@pytest.mark.parametrize(
    ("days", "words"),
    [(-1, "It ended on"), (0, "today or tomorrow"), (1, "tomorrow"), (12, "in 12 days"), (30, ""), (300, "")],
)
def test_a_certificate_that_ends_soon_or_has_ended_says_so(days: int, words: str, tmp_path: Path) -> None:
    (described,) = describe(Authority(tmp_path).client(days=days)[0])
    trouble = described.trouble(datetime.now(UTC) - timedelta(hours=1))
    assert words in trouble
    assert bool(trouble) == bool(words)


def test_a_certificate_that_has_not_begun_says_so(tmp_path: Path) -> None:
    (described,) = describe(Authority(tmp_path).client()[0])
    assert "not valid before" in described.trouble(datetime.now(UTC) - timedelta(days=31))
