"""How an app's requests are signed, as an option and in words: a shared secret is shown once, a public key always."""

from argparse import ArgumentParser
from typing import Any

from syncsvc.delivery.signing import Signing, public_key, signing_of


def add_signing(parser: ArgumentParser, *, default: str) -> None:
    parser.add_argument(
        "--signing",
        type=Signing,
        choices=list(Signing),
        metavar="|".join(Signing),
        help=f"how the secret that is made signs (default: {default}); ed25519 has a public key for the receiver",
    )


def new_signer(secret: str) -> dict[str, Any]:
    """For JSON, of a secret that was just made: the secret where both sides need it, else the public key."""
    key = public_key(secret)
    return {"secret": None if key else secret, "signing": signing_of(secret), "public_key": key or None}


def shown_secret(secret: str, *, of: str) -> str:
    """`secret of shop, shown this once: whsec_…`, or its public key."""
    key = public_key(secret)
    return f"public key of {of}, for who verifies: {key}" if key else f"secret of {of}, shown this once: {secret}"
