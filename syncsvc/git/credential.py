"""User names and tokens for http, checked when they are given: HTTP could not carry them, or carries a typing slip."""

import re

from syncsvc.exceptions import InvalidCredentialError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_username(text: str) -> str:
    """The user name as it is stored, without space around it; refused with a colon or a line end (RFC 7617)."""
    name = text.strip()
    if ":" in name or _CONTROL.search(name):
        raise InvalidCredentialError("A user name holds no colon, line end or control character; give it as it is.")
    return name


def check_token(text: str) -> str:
    """The token as it is stored, without space around it; refused where it is more than one line of text."""
    token = text.strip()
    if _CONTROL.search(token):
        raise InvalidCredentialError("A token or password is one line of text; give it, or its file, as it is.")
    return token
