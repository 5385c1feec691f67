"""The pinned lines of one ssh host, written for a connection that goes to an address of it.

ssh looks up the alias that it is told, and nothing else. By itself it looks up `host`, or `[host]:port` for a port
other than 22, and `host` alone where that has no line (sshconnect.c, check_host_key).
"""

import base64
import binascii
import hmac
import re
from fnmatch import fnmatchcase
from typing import NamedTuple

_SSH_PORT = 22
_AUTHORITY = "@cert-authority"
_REVOKED = "@revoked"


class Pinned(NamedTuple):
    """`alias` is the host's name in `lines`, which are those of a known_hosts file."""

    alias: str
    lines: str


def check_known_hosts(text: str) -> str:
    """The lines in the form that is stored, with one kind of line end; nothing is refused: ssh says what it lacks."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def pinned_for(host: str, port: int, known_hosts: str) -> Pinned:
    """Lines for other hosts are left out; with none for this host, ssh says that its key is not known."""
    name = host.lower()
    names = [name] if port == _SSH_PORT else [f"[{name}]:{port}", name]
    lines = [line for line in map(str.strip, known_hosts.splitlines()) if line and not line.startswith("#")]
    revoked = [line for line in lines if line.startswith(_REVOKED) and any(_is_for(line, asked) for asked in names)]
    for asked in names:
        if found := [line for line in lines if not line.startswith(_REVOKED) and _is_for(line, asked)]:
            # A certificate is made out for the host, without a port.
            alias = name if any(line.startswith(_AUTHORITY) for line in found) else names[0]
            return Pinned(alias, "\n".join(_renamed(line, alias) for line in (*revoked, *found)))
    return Pinned(names[0], "")


def _is_for(line: str, name: str) -> bool:
    _, rest = _split_marker(line)
    patterns = rest.split(None, 1)[0] if rest else ""
    if patterns.startswith("|1|"):
        return _hashed(patterns, name)
    given = patterns.lower().split(",")
    if any(_matches(name, pattern[1:]) for pattern in given if pattern.startswith("!")):
        return False
    return any(_matches(name, pattern) for pattern in given if pattern and not pattern.startswith("!"))


def _matches(name: str, pattern: str) -> bool:
    """Only * and ? are special; a name in brackets is meant as it is."""
    return fnmatchcase(name, re.sub(r"\[", "[[]", pattern))


def _hashed(patterns: str, name: str) -> bool:
    try:
        _, _, salt, digest = patterns.split("|")
        made = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
        return hmac.compare_digest(made, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False


def _renamed(line: str, alias: str) -> str:
    marker, rest = _split_marker(line)
    key = rest.split(None, 1)[1:]
    return " ".join((*marker, alias, *key))


def _split_marker(line: str) -> tuple[list[str], str]:
    if not line.startswith("@"):
        return [], line
    marker, *rest = line.split(None, 1)
    return [marker], rest[0] if rest else ""
