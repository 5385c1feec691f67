"""Seals of values in Redis: whoever can write there, and does not know SECRET_KEY, cannot make us believe a value.

A page, a session or a permission that is read back from Redis is trusted. Its seal is an HMAC over the key, the value
and its end, so a value can neither be moved to another key nor put back when it is over. Numbers that nothing depends
on are not sealed: each reader parses them with a bound.
"""

import hashlib
import hmac
import struct
import time

from django.conf import settings

MOST_BYTES = 4 * 1024 * 1024
SEAL_BYTES = 32
# When it ends, in seconds since 1970.
END = struct.Struct(">Q")
NEVER = 2**63
# The clocks of two machines may differ by so many seconds.
SKEW_SECONDS = 30


def sealed(key: str, text: str, *, seconds: float | None) -> bytes:
    """The value to store under `key`, good for so many seconds; None: for as long as it is there."""
    end = NEVER if seconds is None else int(time.time() + seconds) + 1
    data = END.pack(end) + text.encode()
    return _seal(key, data) + data


def opened(key: str, value: object) -> str | None:
    """The text of a value that was found under `key`; None where we did not seal it for this key, or it is over."""
    if not isinstance(value, bytes) or not SEAL_BYTES + END.size <= len(value) <= MOST_BYTES:
        return None
    seal, data = value[:SEAL_BYTES], value[SEAL_BYTES:]
    if not hmac.compare_digest(seal, _seal(key, data)):
        return None
    (end,) = END.unpack_from(data)
    return data[END.size :].decode() if time.time() <= end + SKEW_SECONDS else None


def number(value: object, *, digits: int = 15) -> int | None:
    """A whole number from 0 of at most so many digits, as bytes or text; None for anything else."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > digits:
        return None
    return int(text)


def _seal(key: str, data: bytes) -> bytes:
    secret = hashlib.sha256(b"syncsvc.sealing:" + settings.SECRET_KEY.encode()).digest()
    return hmac.digest(secret, key.encode() + b"\0" + data, "sha256")
