"""Seals of values in Redis: whoever can write there, and does not know SECRET_KEY, cannot make us believe a value.

A page, a session or a permission that is read back from Redis is trusted. Its seal is an HMAC over the key and the
value, so a value cannot be moved to another key either. Numbers that nothing depends on are not sealed: each reader
parses them with a bound.
"""

import hashlib
import hmac

from django.conf import settings

MOST_BYTES = 4 * 1024 * 1024
SEAL_BYTES = 32


def sealed(key: str, text: str) -> bytes:
    """The value to store under `key`."""
    data = text.encode()
    return _seal(key, data) + data


def opened(key: str, value: object) -> str | None:
    """The text of a value that was found under `key`; None where it is not one that we sealed for this key."""
    if not isinstance(value, bytes) or not SEAL_BYTES <= len(value) <= MOST_BYTES:
        return None
    seal, data = value[:SEAL_BYTES], value[SEAL_BYTES:]
    return data.decode() if hmac.compare_digest(seal, _seal(key, data)) else None


def number(value: object, *, digits: int = 15) -> int | None:
    """A whole number from 0 of at most so many digits, as bytes or text; None for anything else."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > digits:
        return None
    return int(text)


def _seal(key: str, data: bytes) -> bytes:
    secret = hashlib.sha256(b"syncsvc.sealing:" + settings.SECRET_KEY.encode()).digest()
    return hmac.digest(secret, key.encode() + b"\0" + data, "sha256")
