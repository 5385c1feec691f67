"""What git says on its standard error, turned into a kind and a clean sentence."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from syncsvc.error_kinds import HOST_LIMITS, POLICIES, kind_of_remote_status
from syncsvc.exceptions import GitError
from syncsvc.git.complaints import AT_REMOTE, HUNG_UP, PROXY, RULES, SENTENCES, Rule
from syncsvc.git.detour import failure
from syncsvc.git.disk import disk_error
from syncsvc.git.redirects import STATUSES, discovery_url
from syncsvc.git.wire import HttpAnswer
from syncsvc.types import ErrorKind

MAX_MESSAGE = 500
_MAX_LINES = 200
# Characters; a longer line costs the patterns seconds. A path of the file system fits into it.
_MAX_LINE = 5000
# Seconds; RETRY_AFTER_MAX_SECONDS cuts what a server asks for, and a longer wait in a message would not be true.
_LONG = 3600
_PAGE = (
    "The remote answers with a web page instead of git's protocol: a login page, perhaps, or one of a proxy on the way."
    " Check the URL and the credential; it is tried again by itself."
)
_MOVED = "The remote answers with a redirect{where}, which is not followed; set the URL that it has moved to."
_LIMITED = "The remote limits how often it is asked; it is left alone for {wait}, then tried again by itself."
_IN_TROUBLE = "The remote's server is in trouble (HTTP {status}); it is tried again by itself."
_STATUS = re.compile(
    r"(?:fatal: unable to access ''|error: RPC failed).*?"
    r"(?:The requested URL returned error: |HTTP code = )([0-9]{3})\b"
)
# By these a proxy that passes requests on says as well that it refuses, or cannot reach the remote.
_OF_PROXIES = (403, 500, 502, 503, 504)
_REFUSED = "The remote refuses the request (HTTP {status}); check the URL and the server. It is tried again by itself."
_RATE_LIMITED = re.compile(r"fatal: rate limited by ''(?:.* in ([0-9]+) seconds)?")
# The only words of a remote that count beside a status: a 403 may be a refusal or a limit.
_LIMIT_SAID = re.compile(r"remote: .*(?:rate limit|too many requests|retry later|abuse detection)", re.IGNORECASE)
_OF_GIT = re.compile(rb"(?:fatal|error|warning): (.*)", re.DOTALL)
_PROGRESS = re.compile(r"(?:remote: )?[A-Z][a-z]+ing [a-z ]+: +[0-9]+(?:%|,|$)")


class NoShallowError(GitError):
    """The remote gives no commit without its history."""


class NoConnectionError(GitError):
    """ssh or git found nobody at the address that it was led to."""


class MovedError(GitError):
    """The remote answered with a redirect, which git does not follow; `location` is what the answer says."""

    location: str = ""


class _Said(NamedTuple):
    """A line as git said it, and as it is compared: without URL and quoted text."""

    text: str
    plain: str


class _Verdict(NamedTuple):
    kind: ErrorKind
    words: str
    line: str
    retry_after: float | None = None
    at_remote: bool = False
    error: type[GitError] = GitError


def git_error(
    stderr: bytes,
    hide: Sequence[str] = (),
    *,
    otherwise: ErrorKind = ErrorKind.INTERNAL,
    url: str = "",
    aliases: Mapping[str, str] | None = None,
    folder: str = "",
    answer: HttpAnswer | None = None,
    setting: str = "GIT_TIMEOUT",
    proxy: str = "",
) -> GitError:
    """Kind and sentence for a git that failed; `hide` are the secrets and paths that must not be shown.

    `otherwise` is the kind of what git says in words that are not known here. `url` is the remote's, `aliases` the host
    that is named in place of an address, `answer` the remote's last one over http, `folder` the one that git writes to,
    `setting` the name of the limit of silence, `proxy` host and port of the proxy on the way.
    """
    said = _lines(_named(stderr.decode("utf-8", "replace"), aliases or {}), url)
    if proxy and (failed := failure([line.plain for line in said], proxy, answer)):
        return GitError(failed.kind, clean(failed.text, hide)[:MAX_MESSAGE])
    verdict = _of_http(said, url, answer) or _by_rule(said, folder) or _unknown(said, otherwise)
    if answer and answer.status == 200 and answer.is_page and verdict.kind is ErrorKind.GIT_UNREACHABLE:
        verdict = verdict._replace(words=_PAGE)
    text = verdict.words.replace("{setting}", setting)
    status = _status_of(said)
    if proxy and url.startswith("http:") and (verdict.kind is ErrorKind.GIT_AUTH or status in _OF_PROXIES):
        text += f" Perhaps it is the egress proxy {proxy} that answers so: look at its log."
    quoted = clean(" ".join(filter(None, (verdict.line, _remotes_words(said, verdict.line)))), hide)
    if quoted:
        text = f"{text[: MAX_MESSAGE - 100]} git said: {quoted}"
    error = verdict.error(
        verdict.kind,
        text[:MAX_MESSAGE],
        retry_after=verdict.retry_after,
        at_remote=verdict.at_remote,
        status=status,
    )
    if isinstance(error, MovedError):
        error.location = _location(answer)
    return error


def attributed(stderr: bytes, complaints: Sequence[str]) -> bytes:
    """Marks as the remote's the lines that look like git's and are none of the complaints that git has traced.

    A complaint may quote the remote, whose words may hold line ends: the next line is then all its own. Nothing is
    marked where the remote hung up, whose program's words are wanted then, and where git has traced no complaint.
    """
    if not complaints or any(HUNG_UP.match(f"fatal: {complaint}") for complaint in complaints):
        return stderr
    first_lines = [_shown(complaint) for complaint in complaints]
    return b"\n".join(
        b"remote: " + line if (said := _OF_GIT.match(line)) and not _is_among(first_lines, said[1]) else line
        for line in re.split(rb"[\r\n]+", stderr)
    )


def _shown(complaint: str) -> bytes:
    """Its first line, as git writes it."""
    return re.sub(rb"[\x00-\x1f\x7f]", b"?", complaint.partition("\n")[0].replace("\t", " ").encode())


def _is_among(first_lines: Sequence[bytes], line: bytes) -> bool:
    said = line.replace(b"\t", b" ").rstrip()
    # git cuts what it writes after 4,096 bytes.
    return any(said == first.rstrip() or (len(said) > 4000 and first.startswith(said)) for first in first_lines)


def _status_of(said: list[_Said]) -> int | None:
    """The HTTP status that failed; None where the remote gave none."""
    found = [match for line in said if (match := _STATUS.match(line.plain))]
    return int(found[0][1]) if found else None


def at_remote(error: GitError) -> GitError:
    """Damage that was met where no mirror was read, or a sound one: then it is the remote's."""
    if error.kind is not ErrorKind.GIT_CORRUPT or error.at_remote:
        return error
    _, found, said = str(error).partition(" git said: ")
    return GitError(error.kind, f"{AT_REMOTE}{found}{said}"[:MAX_MESSAGE], at_remote=True)


def clean(text: str, hide: Sequence[str] = ()) -> str:
    for secret in sorted(filter(None, hide), key=len, reverse=True):
        text = text.replace(secret, "…")
    text = re.sub(r"//[^/\s'\"]*@", "//", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _lines(text: str, url: str) -> list[_Said]:
    found = []
    for line in re.split(r"[\r\n]+", text):
        stripped = line.strip().removesuffix("\x1b[K")[:_MAX_LINE]
        if stripped and not _PROGRESS.match(stripped):
            found.append(_Said(stripped, _plain(stripped, url)))
    return found[-_MAX_LINES:]


def _named(text: str, aliases: Mapping[str, str]) -> str:
    """With the host in place of the address that git was led to."""
    for address, host in aliases.items():
        text = re.sub(rf"(?<![0-9A-Za-z:.]){re.escape(address)}(?![0-9A-Za-z]|[:.][0-9A-Za-z])", host, text)
    return text


def _plain(line: str, url: str) -> str:
    """Without what is somebody else's words: the URL, and what stands in quotes."""
    if url:
        line = line.replace(url, "URL")
    # A quote begins after a space or bracket: the apostrophe of "Couldn't" does not.
    return re.sub(r"(?<![^\s(])'.*?'(?=[\s:;,.)?]|$)", "''", line)


def _of_http(said: list[_Said], url: str, answer: HttpAnswer | None) -> _Verdict | None:
    """By the status, where git says that a status was what failed."""
    for line in said:
        if match := _RATE_LIMITED.match(line.plain):
            seconds = float(match[1]) if match[1] else answer.retry_after if answer else None
            return _limited(line, seconds)
        if match := _STATUS.match(line.plain):
            status = int(match[1])
            return _of_status(status, line, said, url, answer if answer and answer.status == status else None)
    return None


def _of_status(status: int, line: _Said, said: list[_Said], url: str, answer: HttpAnswer | None) -> _Verdict | None:
    retry_after = answer.retry_after if answer else None
    is_limit = status == HTTPStatus.FORBIDDEN and (
        retry_after is not None or any(_LIMIT_SAID.match(each.plain) for each in said)
    )
    if status == HTTPStatus.TOO_MANY_REQUESTS or is_limit or (status in HOST_LIMITS and retry_after is not None):
        return _limited(line, retry_after)
    kind = kind_of_remote_status(status)
    if 300 <= status < 400:
        error = MovedError if status in STATUSES and _location(answer) else GitError
        return _Verdict(kind, moved(url, _location(answer)), line.text, error=error)
    return _Verdict(kind, _words_of_status(kind, status), line.text)


def _words_of_status(kind: ErrorKind, status: int) -> str:
    if POLICIES[kind].permanent:
        return SENTENCES[kind]
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return PROXY
    in_trouble = status >= 500 or kind is ErrorKind.GIT_TIMEOUT
    return (_IN_TROUBLE if in_trouble else _REFUSED).format(status=status)


def _limited(line: _Said, seconds: float | None) -> _Verdict:
    wait = "a while" if seconds is None or seconds > _LONG else f"{seconds:.0f} s, as it asks"
    return _Verdict(ErrorKind.GIT_UNREACHABLE, _LIMITED.format(wait=wait), line.text, retry_after=seconds)


def _location(answer: HttpAnswer | None) -> str:
    return answer.headers.get("location", "") if answer else ""


def moved(url: str, location: str) -> str:
    """What is said of a redirect that is not followed."""
    return _MOVED.format(where=_where(url, location))


def _where(url: str, location: str) -> str:
    """Without what was asked below the repository's URL, without a query and without a credential."""
    try:
        parts = urlsplit(urljoin(discovery_url(url), location))
        host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return ""
    if not location or parts.scheme not in {"http", "https"} or not host:
        return ""
    path = parts.path.removesuffix("/info/refs").removesuffix("/git-upload-pack")
    return f" to {clean(f'{parts.scheme}://{host}{path}')[:200]}"


def _by_rule(said: list[_Said], folder: str) -> _Verdict | None:
    hung_up = any(HUNG_UP.match(line.plain) for line in said)
    for rule in RULES:
        if rule.hung_up not in {None, hung_up}:
            continue
        for line in said:
            if match := rule.pattern.match(line.plain):
                return _apply(rule, match, line, folder)
    return None


def _apply(rule: Rule, match: re.Match[str], line: _Said, folder: str) -> _Verdict:
    groups = {name: clean(value or "") for name, value in match.groupdict().items()}
    if rule.kind is ErrorKind.WORKER_DISK:
        words = str(disk_error(folder or "for mirrors", groups["reason"]))
    else:
        words = rule.words or SENTENCES[rule.kind]
        for name, value in groups.items():
            words = words.replace(f"{{{name}}}", value)
    return _Verdict(rule.kind, words, line.text, at_remote=rule.at_remote, error=_error_of(rule))


def _error_of(rule: Rule) -> type[GitError]:
    if rule.no_shallow:
        return NoShallowError
    return NoConnectionError if rule.no_connection else GitError


def _unknown(said: list[_Said], otherwise: ErrorKind) -> _Verdict:
    """The line that says most: the first `fatal:` or `error:`, else the first."""
    told = [line for line in said if line.plain.startswith(("fatal:", "error:"))]
    return _Verdict(otherwise, SENTENCES[otherwise], (told or said or [_Said("", "")])[0].text[:300])


def _remotes_words(said: list[_Said], line: str) -> str:
    """The first line of the remote that is not decoration."""
    lines = [each.text for each in said if re.match(r"remote: .*\w{3}", each.text) and each.text != line]
    return lines[0][:200] if lines else ""
