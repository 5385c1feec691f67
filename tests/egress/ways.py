"""The ways out of syncsvc, each as a function of what stands for the host in a URL; they answer with what they say."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping

import pycurl
from django.utils import timezone

from syncsvc.delivery.answers import Answer, Request
from syncsvc.delivery.signing import new_secret
from syncsvc.delivery.webhook_url import check_webhook_url
from syncsvc.exceptions import GitError, InvalidUrlError
from syncsvc.git.remote import Remote, SshCredential, remote_head
from syncsvc.git.url import check_url
from syncsvc.models import App
from syncsvc.models.fields import Sealed
from syncsvc.sync.job import git_limits
from syncsvc.sync.one_message import send_message
from syncsvc.sync.transports import Transports

SECONDS = 5.0
KEY = "no key: no host here comes so far as to ask for it"

type Way = Callable[[str], tuple[str, str]]
"""What stands for the host, to the error kind and its text; for a URL that is not even tried the kind is "refused"."""


def _deliver(url: str, *, fresh: bool = False) -> tuple[str, str]:
    """As a run does; `fresh` as the probe of a circuit."""
    with Transports().take() as transport:
        transport.send(Request("id", _as_stored(url), [b"webhook-id: id"], b"{}", SECONDS, None, fresh=fresh))
        while not (answers := transport.wait(SECONDS)):
            pass
    return _said(answers[0])


def _said(answer: Answer) -> tuple[str, str]:
    return str(answer.error_kind or ""), answer.error


def _as_stored(url: str) -> str:
    """A URL that a row may have: one that is refused today may have been stored before. libcurl takes ASCII alone."""
    return url if url.isascii() else check_webhook_url(url)


def _delivery(authority: str) -> tuple[str, str]:
    return _deliver(f"http://{authority}/hook")


def _delivery_over_tls(authority: str) -> tuple[str, str]:
    return _deliver(f"https://{authority}/hook")


def _probe(authority: str) -> tuple[str, str]:
    return _deliver(f"http://{authority}/hook", fresh=True)


def _ping(authority: str) -> tuple[str, str]:
    """As *Send test* does, and the news of a failure."""
    app = App(name="app", url=_as_stored(f"http://{authority}/hook"), secret=Sealed.seal(new_secret()), timeout=SECONDS)
    return _said(send_message(app, b"{}", timezone.now()))


def _git(url: str) -> tuple[str, str]:
    """As a poll does, and the look of a run."""
    credential = (
        SshCredential(private_key=KEY, known_hosts="* ssh-ed25519 AAAA") if url.startswith(("ssh:", "git@")) else None
    )
    try:
        remote_head(Remote(_stored_remote(url), credential=credential), git_limits())
    except GitError as error:
        return error.kind, str(error)
    return "", ""


def _stored_remote(url: str) -> str:
    """As a row has it: without the spaces and in the case in which `check_url` gives it back, or as it was stored."""
    try:
        return check_url(url, allow_local=False)
    except InvalidUrlError:
        return url


def _plain(*command: str) -> tuple[str, str]:
    """Somebody else's program, which hears of all that is around it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_CONFIG_NO")}
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env, timeout=30)
    return "", ""


def _plain_curl(authority: str) -> tuple[str, str]:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"http://{authority}/")
    curl.setopt(pycurl.WRITEFUNCTION, lambda data: len(data))
    with contextlib.suppress(pycurl.error):
        curl.perform()
    return "", ""


def try_way(way: str, authority: str) -> tuple[str, str]:
    try:
        return WAYS[way](authority)
    except InvalidUrlError as error:
        return "refused", str(error)


PLAIN: Mapping[str, Way] = {
    "plain libcurl": _plain_curl,
    "plain git over http": lambda authority: _plain("git", "ls-remote", f"http://{authority}/a.git"),
    "plain git over https": lambda authority: _plain("git", "ls-remote", f"https://{authority}/a.git"),
    "plain git protocol": lambda authority: _plain("git", "ls-remote", f"git://{authority}/a.git"),
    "plain git over ssh": lambda authority: _plain("git", "ls-remote", f"ssh://git@{authority}/a.git"),
}
WAYS: Mapping[str, Way] = {
    **PLAIN,
    "delivery": _delivery,
    "delivery over TLS": _delivery_over_tls,
    "probe": _probe,
    "ping": _ping,
    "git over http": lambda authority: _git(f"http://{authority}/a.git"),
    "git over https": lambda authority: _git(f"https://{authority}/a.git"),
    "git protocol": lambda authority: _git(f"git://{authority}/a.git"),
    "ssh": lambda authority: _git(f"ssh://git@{authority}/a.git"),
    "ssh as scp writes it": lambda authority: _git(f"git@{authority}:a.git"),
}
