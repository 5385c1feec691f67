"""The certificate authorities that webhooks over TLS trust."""

import os
import ssl
from pathlib import Path

import certifi

# OpenSSL's variable: a file (PEM) in place of the system's.
SSL_CERT_FILE = "SSL_CERT_FILE"
# A Python that was built elsewhere than it runs does not know where its system keeps the bundle.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat, Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD
)


def trusted_authorities() -> str:
    """Path of the bundle: SSL_CERT_FILE's, else the system's, else certifi's.

    Not the one that pycurl's wheel was built with, which is Red Hat's.
    """
    given = os.environ.get(SSL_CERT_FILE) or ssl.get_default_verify_paths().cafile
    return given or next((path for path in SYSTEM_BUNDLES if Path(path).is_file()), certifi.where())


def missing_authorities() -> str:
    """What is wrong with SSL_CERT_FILE; nothing where it is right or not set."""
    if not (given := os.environ.get(SSL_CERT_FILE)):
        return ""
    try:
        is_bundle = b"-----BEGIN" in Path(given).read_bytes()
    except OSError as error:
        return f"{given} cannot be read ({error.strerror})"
    return "" if is_bundle else f"{given} holds no certificate in PEM"
