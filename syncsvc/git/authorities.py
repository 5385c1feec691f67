"""Certificates of authorities that git trusts besides the public ones."""

import os
import ssl
import warnings
from collections.abc import Sequence
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from syncsvc.exceptions import InvalidCredentialError

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)


def check_certificates(text: str) -> str:
    """The certificates in the form that is stored; InvalidCredentialError for anything but certificates."""
    if "PRIVATE KEY-----" in text:
        raise InvalidCredentialError(
            "This holds a private key, which must not be given here; give only the CA's certificate."
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # of what old authorities have in theirs
            found = x509.load_pem_x509_certificates(text.encode())
    except (ValueError, x509.InvalidVersion):
        found = []
    if not found or text.count("-----BEGIN ") != len(found):
        raise InvalidCredentialError(
            "This is no PEM certificate, or one of several is damaged; give the text from -----BEGIN CERTIFICATE-----"
            " to -----END CERTIFICATE-----, of one CA or more."
        )
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in found).strip()


def read_certificates(file: str) -> str:
    """Of a setting that names a file."""
    try:
        return check_certificates(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCredentialError(f"The file {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidCredentialError(f"The file {file} is no text; give certificates in PEM form.") from None


def write_bundle(file: Path, besides: Sequence[str]) -> None:
    """The public authorities and these: what git is given replaces the ones that it trusts by itself."""
    public = Path(_public_bundle()).read_text(encoding="utf-8", errors="replace")
    file.write_text("\n".join((public, *besides)), encoding="utf-8")


def _public_bundle() -> str:
    given = os.environ.get("SSL_CERT_FILE", "")
    usual = ssl.get_default_verify_paths().cafile or ""
    return next((bundle for bundle in (given, *_BUNDLES, usual) if bundle and os.path.isfile(bundle)), certifi.where())
