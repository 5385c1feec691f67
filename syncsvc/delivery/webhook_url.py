"""Which URLs webhooks may go to."""

import re
from urllib.parse import SplitResult, urlsplit

from syncsvc.exceptions import InvalidUrlError

# An IPv6 address may have a zone, in the URL after %25.
HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]*:[0-9a-f:.]*(?:%[a-z0-9_.-]+)?")
NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")


def check_webhook_url(url: str) -> str:
    """The URL without surrounding space; the host's address is checked later, when it is connected to."""
    url = url.strip()
    if NOT_IN_A_URL.search(url) or not url.isascii():
        raise InvalidUrlError(
            "The URL has a space, a backslash or a character outside ASCII;"
            " write those percent-encoded, and an international host name in its xn-- form."
        )
    if "#" in url:
        raise InvalidUrlError("The URL has a fragment (from # on), which is never sent; leave it out.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrlError(
            "The URL's host or port is not valid; write it like https://example.com:8443/hook."
        ) from None
    _check_parts(parts, port)
    return url


def _check_parts(parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in {"http", "https"}:
        raise InvalidUrlError(
            "A webhook URL begins with https:// (or http://); write it like https://example.com/hook."
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidUrlError(
            "The URL holds a user name or password; leave them out. Webhooks are signed: the endpoint verifies that."
        )
    if not parts.hostname:
        raise InvalidUrlError("The URL has no host; write it like https://example.com/hook.")
    if not HOST.fullmatch(parts.hostname):
        raise InvalidUrlError(
            "The URL's host is neither a name nor an address; write it like https://example.com:8443/hook."
        )
    if port == 0:
        raise InvalidUrlError("Port 0 cannot be connected to; write the endpoint's own port, or none.")
