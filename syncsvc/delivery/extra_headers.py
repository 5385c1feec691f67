"""Headers of an app's own that go with each request to it, such as `Authorization: Bearer …`.

They are written as lines, `Name: value`. Values are secret: no message here holds one.
"""

import re

MOST_HEADERS = 20
NAME_LETTERS = 100
VALUE_LETTERS = 4096
# Many servers refuse a request whose headers together are longer than 8 KiB.
ALL_BYTES = 6 * 1024

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
VISIBLE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")  # RFC 9110, section 5.5, without what is not ASCII
# What says how the request itself is read, or which answer may come, is HTTP's and libcurl's.
OWNED_BY_HTTP = frozenset(
    {
        *("host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect", "date"),
        *("accept-encoding", "range", "http2-settings", "max-forwards", "via"),
    }
)
OWNED_BY_HTTP_PREFIXES = ("content-", "proxy-", "if-")
# Receivers go by these.
OWNED_BY_SYNCSVC = frozenset({"user-agent"})
OWNED_BY_SYNCSVC_PREFIXES = ("webhook-",)


def check_headers(text: str) -> str:
    """The headers in the form that is stored, a line each; ValueError, without a value in it, says what is wrong."""
    headers: dict[str, str] = {}
    seen: set[str] = set()
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.strip()), 1):
        if not line.strip():
            continue
        name, value = _header(number, line)
        if name.lower() in seen:
            raise ValueError(f"The header {name} is there twice; give it once.")
        seen.add(name.lower())
        headers[name] = value
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"These are {len(headers)} headers; an app can have {MOST_HEADERS}.")
    stored = "\n".join(f"{name}: {value}" for name, value in headers.items())
    if len(stored) > ALL_BYTES:
        raise ValueError(
            f"The headers have {len(stored)} bytes together; more than {ALL_BYTES} are refused by many servers."
        )
    return stored


def names_of(stored: str) -> list[str]:
    """The names of stored headers, as they are sent."""
    return [line.partition(":")[0] for line in stored.splitlines()]


def _header(number: int, line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not TOKEN.fullmatch(name) or len(name) > NAME_LETTERS:
        raise ValueError(
            f"Line {number} is no header: write `Name: value`, the name of letters, digits and dashes"
            f" (at most {NAME_LETTERS}), and nothing before it."
        )
    _check_owner(name)
    if not value:
        raise ValueError(f"The header {name} has no value; write one behind the colon, or leave the line out.")
    if not VISIBLE.fullmatch(value):
        raise ValueError(
            f"The value of the header {name} has characters outside ASCII, or a control character; encode them as the"
            " endpoint expects."
        )
    if len(value) > VALUE_LETTERS:
        raise ValueError(f"The value of the header {name} has {len(value)} letters; {VALUE_LETTERS} is the most.")
    return name, value


def _check_owner(name: str) -> None:
    # Many servers hand `a_b` to programs as they hand `a-b` (RFC 3875, section 4.1.18).
    plain = name.lower().replace("_", "-")
    if plain in OWNED_BY_SYNCSVC or plain.startswith(OWNED_BY_SYNCSVC_PREFIXES):
        raise ValueError(f"The header {name} is syncsvc's own; it cannot be set. Choose another name.")
    if plain in OWNED_BY_HTTP or plain.startswith(OWNED_BY_HTTP_PREFIXES):
        raise ValueError(f"The header {name} is set by HTTP itself; it cannot be set. Choose another name.")
