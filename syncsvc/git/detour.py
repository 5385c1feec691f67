"""How git is led through the proxy, by each transport, and what it means that no way through came about."""

import os
import re
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from syncsvc.egress import connect
from syncsvc.egress.proxy import Outcome, Proxy, outcome
from syncsvc.git.environment import proxied
from syncsvc.git.wire import HttpAnswer
from syncsvc.types import ErrorKind

# Stands where ssh or git would make a connection.
PROGRAM = Path(connect.__file__)
# A remote that writes to standard error, as one over ssh can, does not know it.
_MARK = secrets.token_hex(8)
_SAID = re.compile(rf"{_MARK} (?P<status>[0-9]{{1,3}})(?P<login> login)?$")
_CURL = r"(?:fatal: unable to access ''.*?: |error: RPC failed; (?:HTTP [0-9]+ )?(?:curl [0-9]+ )?)"
_ANSWERED = re.compile(
    _CURL + r"(?:Received HTTP code |CONNECT tunnel failed, response |The requested URL returned error: )"
    r"(?P<status>[0-9]{3})"
)
_NOT_THERE = re.compile(
    _CURL + r"(?:Could not resolve proxy|Failed to connect to|Could(?:n't| not) connect to|connect to \S+ port|"
    r"Proxy CONNECT aborted)"
)
# By these a proxy marks its own answers to plain requests, which it passes on otherwise.
_OWN = ("x-smokescreen-error", "x-squid-error", "proxy-authenticate")


class Failure(NamedTuple):
    kind: ErrorKind
    text: str


def config_through(scheme: str, proxy: Proxy, url: str) -> Mapping[str, str]:
    if scheme in {"http", "https"}:
        return {**proxied(url, proxy.url), "http.proxyAuthMethod": "basic", "http.followRedirects": "false"}
    return {"core.gitProxy": str(PROGRAM)} if scheme == "git" else {}


def environment_through(scheme: str, proxy: Proxy, host: str, port: int, *, seconds: float) -> Mapping[str, str]:
    """`seconds` is how long connecting may take."""
    if scheme in {"http", "https"}:
        return {"no_proxy": "", "NO_PROXY": ""}
    return {
        "SYNCSVC_PROXY": proxy.authority,
        "SYNCSVC_PROXY_TARGET": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "SYNCSVC_PROXY_AUTHORIZATION": proxy.authorization,
        "SYNCSVC_PROXY_SECONDS": str(seconds),
        "SYNCSVC_PROXY_MARK": _MARK,
        # ssh gives its ProxyCommand to it.
        "SHELL": "/bin/sh",
        # Where the program, which git:// starts without a command line, finds this Python first.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }


def ssh_command() -> str:
    """The value of ssh's ProxyCommand, which a shell reads, and in which ssh replaces what follows a percent sign."""
    return shlex.join([sys.executable, "-I", "-S", str(PROGRAM)]).replace("%", "%%")


def failure(lines: Sequence[str], proxy: str, answer: HttpAnswer | None) -> Failure | None:
    """What the lines of a failed git say of the proxy of that name; None where it is not the proxy that failed.

    `answer` is the last one over http, of the proxy or of the remote.
    """
    for line in lines:
        if match := _SAID.match(line):
            return _of_status(int(match["status"]), proxy, wants_login=bool(match["login"]))
        if match := _ANSWERED.match(line):
            is_own = "returned error" not in match[0] or _is_own(answer)
            wants_login = answer is not None and "proxy-authenticate" in answer.headers
            return _of_status(int(match["status"]), proxy, wants_login=wants_login) if is_own else None
        if _NOT_THERE.match(line):
            return _of_status(0, proxy, wants_login=False)
    return None


def _is_own(answer: HttpAnswer | None) -> bool:
    return answer is not None and any(name in answer.headers for name in _OWN)


def _of_status(status: int, proxy: str, *, wants_login: bool) -> Failure:
    answered = f"The egress proxy {proxy} answered {status}"
    if not status:
        text = f"The egress proxy {proxy} cannot be reached or broke off. Check that it runs, and EGRESS_PROXY."
        return Failure(ErrorKind.EGRESS_PROXY, text)
    match outcome(status, wants_login=wants_login):
        case Outcome.WANTS_LOGIN:
            text = f"{answered}: it wants another user name and password. Correct those in EGRESS_PROXY."
            return Failure(ErrorKind.EGRESS_PROXY, text)
        case Outcome.REFUSED:
            text = f"{answered}: it refuses connections to the remote. Change the URL, or the proxy's rules."
            return Failure(ErrorKind.GIT_FORBIDDEN_ADDRESS, text)
        case Outcome.UNREACHABLE:
            text = f"{answered}: it could not connect to the remote. Check the URL; it is tried again by itself."
            return Failure(ErrorKind.GIT_UNREACHABLE, text)
        case Outcome.TIMED_OUT:
            text = f"{answered}: the remote took no connection in time; it is tried again by itself."
            return Failure(ErrorKind.GIT_TIMEOUT, text)
        case Outcome.FAILED:
            text = f"{answered} in place of a connection. Check EGRESS_PROXY and the proxy's log."
            return Failure(ErrorKind.EGRESS_PROXY, text)
