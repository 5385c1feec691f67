"""Which remote URLs are accepted, and in what form they are kept."""

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from syncsvc.exceptions import InvalidUrlError

SCHEMES = frozenset({"https", "http", "ssh", "git"})
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
EXAMPLE = "Write something like https://host/owner/repo.git."
_SCP_LIKE = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>\[[0-9a-fA-F:.]+\]|[^@/:\[\]]+):(?P<path>[^:].*)")
_HOST = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")
# git reads no settings for an http URL that it cannot normalise: with a stray percent sign, or a way above the root.
_ODD_PATH = re.compile(r"%(?![0-9A-Fa-f]{2})|/(?:\.|%2[eE]){2}(?:/|$)")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+~-]*")
# Some hosts take a token for the user name. A name is stored and shown as it is, so a token must not be taken for one.
_TOKEN = re.compile(
    r"(?:gh[a-z]_|github_pat_|gl[a-z]{2,8}-|AT(?:BB|CTT|ATT))[A-Za-z0-9_=.-]{12,}"
    r"|(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_.=+~-]{32,}"
)
_TAKE_IT_OUT = (
    "The URL holds a password or token; take it out and give it with the credential, which is stored encrypted."
)


class GivenUrl(NamedTuple):
    """`url` in the form that is stored, and the user name that stood in an https or http one; blank for none."""

    url: str
    username: str


def read_url(text: str, *, allow_local: bool) -> GivenUrl:
    """What somebody gives as a remote: also Azure's and Bitbucket's clone URLs, https://user@host/…"""
    text = text.strip()
    match = re.fullmatch(r"(https?://)([^/@?#]*)@([^@]*)", text, re.IGNORECASE)
    if not match:
        return GivenUrl(check_url(text, allow_local=allow_local), "")
    url = check_url(match[1] + match[3], allow_local=allow_local)
    return GivenUrl(url, _username(match[2]))


def _username(userinfo: str) -> str:
    user, colon, password = userinfo.partition(":")
    user = unquote(user)
    if password or (colon and not user) or _TOKEN.fullmatch(user):
        raise InvalidUrlError(_TAKE_IT_OUT)
    if user and (not user.isprintable() or any(character in user for character in ":/ ") or len(user) > 200):
        raise InvalidUrlError("The URL's user name has characters that are refused; give it with the credential.")
    return user


def check_url(url: str, *, allow_local: bool) -> str:
    """The URL as it is stored: scheme and host in lower case, no slash at the end; refused if git could misread it."""
    if any(character.isspace() or not character.isprintable() for character in url):
        raise InvalidUrlError("The URL has spaces, line ends or control characters; write spaces in a path as %20.")
    if not url or url.startswith("-"):
        raise InvalidUrlError(f"The URL is empty or begins with '-'. {EXAMPLE}")
    if re.match(r"[A-Za-z0-9+.-]*::", url):
        raise InvalidUrlError(
            f"URLs that name a transport helper (x::…) are refused, as they can run programs. {EXAMPLE}"
        )
    if url.startswith(("/", "file://")):
        return _local(url, allow_local)
    if "://" in url:
        return _with_scheme(url)
    return _scp_like(url)


def default_name(url: str) -> str:
    """`owner/repo`: the last two parts of the URL's path, as people write them."""
    if "://" in url:
        path = urlsplit(url).path
    elif url.startswith("/"):
        path = url
    else:
        path = url.partition(":")[2]
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if len(parts) > 1 and parts[-1] == ".git":  # a checkout's own folder
        parts.pop()
    if len(parts) > 2 and parts[-2] == "_git":  # Azure DevOps: organisation/project/_git/repository
        parts.pop(-2)
    name = "/".join(parts[-2:]).removesuffix(".git")
    decoded = unquote(name, errors="replace").strip()
    return (decoded if decoded.isprintable() and "\ufffd" not in decoded else name) or url


def scheme_of(url: str) -> str:
    """What git's `protocol.<scheme>.allow` calls the transport of a checked URL."""
    if url.startswith("/"):
        return "file"
    return url.partition("://")[0] if "://" in url else "ssh"


def place_of(url: str) -> tuple[str, int]:
    """Host, without brackets, and port of a checked URL that is not local."""
    if "://" in url:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]
    match = _SCP_LIKE.fullmatch(url)
    return (match["host"].strip("[]") if match else "").lower(), _PORTS["ssh"]


def _local(url: str, allow_local: bool) -> str:
    if not allow_local:
        raise InvalidUrlError(
            "Local paths and file:// URLs are refused here; set GIT_ALLOW_LOCAL=1 to allow them, or use https."
        )
    path = url.removeprefix("file://")
    if not path.startswith("/"):
        raise InvalidUrlError("A file:// URL needs an absolute path and no host: write file:///path/to/repo.")
    return url.rstrip("/") or url


def _with_scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrlError(f"The URL's host or port cannot be read. {EXAMPLE}") from None
    if port == 0:
        raise InvalidUrlError(f"Port 0 cannot be connected to; write the host's own port, or none. {EXAMPLE}")
    if parts.scheme not in SCHEMES:
        raise InvalidUrlError("Only https, http, ssh and git URLs are accepted, or user@host:path for ssh.")
    _check_userinfo(parts)
    host = parts.hostname or ""
    _check_host(host)
    if not parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidUrlError(f"The URL must name a repository on its host, with nothing after '?' or '#'. {EXAMPLE}")
    if parts.path.startswith("/-"):
        raise InvalidUrlError("The URL's path begins with '-', which git could take for an option; it is refused.")
    if parts.scheme in {"ssh", "git"}:
        _check_path(unquote(parts.path))  # as git reads it
    if parts.scheme in {"http", "https"} and _ODD_PATH.search(parts.path):
        raise InvalidUrlError(
            "The URL's path has '..' in it, or a '%' that begins no escape. Write where it leads to, and %25 for '%'."
        )
    user = f"{parts.username}@" if parts.username else ""
    bracketed = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{user}{bracketed}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _check_userinfo(parts: SplitResult) -> None:
    if "@" not in parts.netloc:
        return
    if parts.password is not None:
        raise InvalidUrlError(_TAKE_IT_OUT)
    if parts.scheme != "ssh":
        raise InvalidUrlError("The URL holds a user name; take it out and give it with the credential.")
    _check_user(parts.username or "")


def _check_user(user: str) -> None:
    if not _USER.fullmatch(user):
        raise InvalidUrlError("The URL's user name has characters that are refused; write something like git@host.")


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise InvalidUrlError(f"The URL has no host, or one that cannot be a host's name. {EXAMPLE}")


def _check_path(path: str) -> None:
    """git looks for an address in brackets in the whole URL, and connects to the port behind it."""
    if "@[" in path:
        raise InvalidUrlError("The URL's path holds '@[', where git takes a host to begin; rename the folder.")


def _check_bracketed(host: str) -> None:
    """git takes more than an address: it connects to the port in `[host:port]:path`."""
    try:
        ip_address(host)
    except ValueError:
        raise InvalidUrlError(
            "Between the URL's brackets stands no address; write one with a port like ssh://git@host:2222/owner/repo."
        ) from None


def _scp_like(url: str) -> str:
    match = _SCP_LIKE.fullmatch(url)
    if not match or not match["path"].strip("/"):
        raise InvalidUrlError(f"This is not a URL that git can fetch from. {EXAMPLE}")
    if match["user"] is not None:
        _check_user(match["user"])
    _check_host(match["host"].strip("[]"))
    if match["host"].startswith("["):
        _check_bracketed(match["host"].strip("[]"))
    _check_path(match["path"])
    if match["path"].startswith("-"):
        raise InvalidUrlError("The URL's path begins with '-', which git could take for an option; it is refused.")
    user = f"{match['user']}@" if match["user"] else ""
    return f"{user}{match['host'].lower()}:{match['path'].rstrip('/')}"
