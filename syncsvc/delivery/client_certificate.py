"""A certificate that syncsvc shows to an endpoint (mutual TLS), and its private key."""

import warnings
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

# Days before its end from which a certificate is warned of.
ENDS_SOON_DAYS = 30


@dataclass(frozen=True, slots=True)
class Described:
    """A certificate as people know it. Times are in UTC; `sha256` is its fingerprint."""

    subject: str
    issuer: str
    begins_at: datetime
    ends_at: datetime
    sha256: str

    def days_left(self, now: datetime) -> int:
        """Whole days until its end; negative when it has ended."""
        return (self.ends_at - now).days

    def trouble(self, now: datetime) -> str:
        """The reason why an endpoint refuses it, or will soon; blank where there is none."""
        if now >= self.ends_at:
            return f"It ended on {self.ends_at:%Y-%m-%d}: endpoints refuse it. Give the app a renewed one."
        if now < self.begins_at:
            return f"It is not valid before {self.begins_at:%Y-%m-%d %H:%M} UTC: endpoints refuse it until then."
        if (left := self.days_left(now)) < ENDS_SOON_DAYS:
            days = "today or tomorrow" if left < 1 else "tomorrow" if left == 1 else f"in {left} days"
            return f"It ends {days}, on {self.ends_at:%Y-%m-%d}: give the app a renewed one before."
        return ""


def check_client_key(text: str) -> str:
    """The private key in the form that is stored; ValueError, without the key in it, says what is wrong."""
    if text.count("-----BEGIN ") != 1 or "PRIVATE KEY-----" not in text:
        raise ValueError(
            "This is no private key in PEM; give the text from -----BEGIN … PRIVATE KEY----- to -----END … PRIVATE"
            " KEY-----, and the certificate by itself."
        )
    try:
        key = load_pem_private_key(text.strip().encode(), None)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()
    except TypeError:
        raise ValueError(
            "The private key has a passphrase, which nobody can type here; give it without one"
            " (`openssl pkey -in KEY -out NEW`). It is stored encrypted."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("The private key is damaged, or of a kind that TLS does not use; copy it whole.") from None


def describe(pem: str) -> list[Described]:
    """The certificates of checked text, in its order; the first one is the client's own."""
    with warnings.catch_warnings(action="ignore"):  # of what old authorities have in theirs
        return [_described(one) for one in x509.load_pem_x509_certificates(pem.encode())]


def end_of(certificate: str) -> datetime | None:
    """When the client's own certificate ends; None where there is none, or none that was checked."""
    if not certificate:
        return None
    try:
        return describe(certificate)[0].ends_at
    except ValueError:
        return None


def fits(certificate: str, key: str) -> bool:
    """True where the key is that of the first certificate. Both have been checked."""
    with warnings.catch_warnings(action="ignore"):
        first = x509.load_pem_x509_certificates(certificate.encode())[0]
    try:
        of_certificate = first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return False
    of_key = load_pem_private_key(key.encode(), None).public_key()
    return of_certificate == of_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _described(certificate: x509.Certificate) -> Described:
    try:
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    except ValueError:
        subject = issuer = "(unreadable name)"
    return Described(
        subject=subject,
        issuer=issuer,
        begins_at=certificate.not_valid_before_utc,
        ends_at=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(SHA256()).hex(),
    )
