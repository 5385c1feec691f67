"""The proxy that all connections to the outside go through: one that opens tunnels by CONNECT, as Smokescreen does."""

import base64
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
EXAMPLE = "write it like http://proxy.example:4750, or http://user:password@proxy.example:4750"


@dataclass(frozen=True, slots=True)
class Proxy:
    """`host` is a name or an address, without brackets. Without a login `username` is blank."""

    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Host and port, as they may be shown."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """For git, which takes a login only there. Secret."""
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.username else ""
        return f"http://{login}{self.authority}"

    @property
    def authorization(self) -> str:
        """The value of Proxy-Authorization (RFC 7617); blank without a login. Secret."""
        if not self.username:
            return ""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no error may show, in each form that a program may write."""
        if not self.username:
            return ()
        return (self.password, quote(self.password, safe=""), self.authorization.partition(" ")[2])


class Outcome(Enum):
    """What it means that a proxy opened no tunnel."""

    FAILED = auto()
    WANTS_LOGIN = auto()
    REFUSED = auto()
    UNREACHABLE = auto()
    TIMED_OUT = auto()


def outcome(status: int, *, wants_login: bool) -> Outcome:
    """Of the status that a proxy answered to CONNECT; `wants_login` says that it has a Proxy-Authenticate.

    Proxies differ. A host that they cannot connect to, or find, is 502 (Smokescreen), 503 or 500 (Squid), 500
    (tinyproxy); one that their rules forbid 403, or 407 (Smokescreen); a wrong login 407, or 401 (tinyproxy).
    """
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return Outcome.WANTS_LOGIN
        case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return Outcome.WANTS_LOGIN if wants_login else Outcome.REFUSED
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
            return Outcome.REFUSED
        case HTTPStatus.GATEWAY_TIMEOUT:
            return Outcome.TIMED_OUT
    return Outcome.UNREACHABLE if status >= 500 else Outcome.FAILED


def read_proxy(text: str) -> Proxy | None:
    """None for a blank text; ValueError with a sentence, which does not quote the text, for what is no proxy's URL."""
    text = text.strip()
    if not text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"its host or port cannot be read; {EXAMPLE}.") from None
    if parts.scheme != "http":
        raise ValueError(f"it does not begin with http://, the only kind of proxy that is spoken to; {EXAMPLE}.")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or parts.path not in {"", "/"}:
        raise ValueError(f"it has no host, or more than a host and a port; {EXAMPLE}.")
    if parts.query or parts.fragment or not port:
        raise ValueError(f"it has no port, or more than a host and a port; {EXAMPLE}.")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if _CONTROL.search(username + password) or ":" in username or (password and not username):
        raise ValueError(f"its user name or password cannot be sent; percent-encode special characters, and {EXAMPLE}.")
    return Proxy(parts.hostname, port, username, password)
