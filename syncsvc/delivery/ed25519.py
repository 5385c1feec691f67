"""Key pairs of Standard Webhooks 1.0.0's asymmetric signatures, `v1a`: `whsk_` is the private key, `whpk_` the public.

A private key is base64 of its seed (32 bytes), or of seed and public key (64), as Svix and libsodium have it.
"""

import binascii
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE, PUBLIC = "whsk_", "whpk_"
SEED_BYTES = 32


def new_key_pair() -> str:
    return _written(Ed25519PrivateKey.generate())


def check_key_pair(secret: str) -> str:
    """The private key in the form that is stored; ValueError, without the key in it, says what is wrong."""
    return _written(private_key(secret))


def public_key_of(secret: str) -> str:
    """The public key that goes with a private one, to be given to everybody who verifies."""
    return f"{PUBLIC}{b64encode(private_key(secret).public_key().public_bytes_raw()).decode()}"


def private_key(secret: str) -> Ed25519PrivateKey:
    """To sign with; ValueError as `check_key_pair`."""
    try:
        data = b64decode(secret.removeprefix(PRIVATE), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"What follows {PRIVATE} in a private key must be base64; copy it whole.") from None
    if len(data) not in (SEED_BYTES, 2 * SEED_BYTES):
        raise ValueError(f"A private key holds {SEED_BYTES} or {2 * SEED_BYTES} bytes; this one holds {len(data)}.")
    key = Ed25519PrivateKey.from_private_bytes(data[:SEED_BYTES])
    if len(data) > SEED_BYTES and key.public_key().public_bytes_raw() != data[SEED_BYTES:]:
        raise ValueError("The two halves of the private key do not belong together; copy it whole.")
    return key


def _written(key: Ed25519PrivateKey) -> str:
    data = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return f"{PRIVATE}{b64encode(data).decode()}"
