"""A remote, how to log in to it, and where its branch stands."""

import base64
import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from syncsvc.exceptions import GitError, InvalidUrlError, NotAskedError
from syncsvc.git.process import Context, GitProcess, environment, run
from syncsvc.git.url import check_url, scheme_of
from syncsvc.types import ErrorKind, RemoteHead

DETACHED = "HEAD"  # what RemoteHead.branch says of a HEAD that is on no branch
_LOW_SPEED = {"http.lowSpeedLimit": "100", "http.lowSpeedTime": "60"}


@dataclass(frozen=True, slots=True)
class HttpCredential:
    username: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def header(self) -> str:
        pair = f"{self.username}:{self.token}".encode()
        return f"Authorization: Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class SshCredential:
    """`known_hosts` are lines of a known_hosts file; no other host key is trusted."""

    private_key: str = field(repr=False)
    known_hosts: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Remote:
    """`branch` blank follows the remote's HEAD."""

    url: str
    branch: str = ""
    credential: HttpCredential | SshCredential | None = None


@dataclass(frozen=True, slots=True)
class GitLimits:
    """Seconds for a call that fetches or waits for a block of a stream, and for one that asks where a branch stands.

    `nice` is how much git lets others go first, as `nice(1)` has it: 0 as everybody, 19 only where nobody wants to.
    """

    timeout: float = 600
    ls_remote_timeout: float = 30
    allow_local: bool = False
    nice: int = 0


class Access(NamedTuple):
    """What a git that talks to a remote is started in; `options` go behind the subcommand."""

    context: Context
    options: list[str]


def remote_head(remote: Remote, limits: GitLimits) -> RemoteHead:
    """Asks the remote where the branch stands, with one `ls-remote`; commit None for a repository without any ref.

    A named branch that is missing raises git_not_found. `branch` is "HEAD" for a HEAD that is on no branch.
    """
    with access(remote, limits, timeout=limits.ls_remote_timeout) as granted:
        # --heads narrows what a server of protocol 2 sends; a pattern alone is matched on this side.
        wanted = ["--heads", "--", remote.url, _ref(remote.branch)] if remote.branch else ["--", remote.url, "HEAD"]
        answer = run(["ls-remote", "--quiet", "--symref", *granted.options, *wanted], granted.context)
        lines = answer.decode("utf-8", "replace").splitlines()
        head = _parse_branch(lines, remote.branch) if remote.branch else _parse_head(lines)
        if head.commit is None and _has_branches(remote, granted):
            raise GitError(ErrorKind.GIT_NOT_FOUND, _missing_branch(remote.branch))
        return head


@contextlib.contextmanager
def access(remote: Remote, limits: GitLimits, *, timeout: float, git_dir: Path | None = None) -> Iterator[Access]:
    """Lets git reach this remote and no other; a private key lies on disk as long as the context lasts."""
    try:
        check_url(remote.url, allow_local=limits.allow_local)
    except InvalidUrlError as error:  # what was allowed when it was stored need not be now
        raise NotAskedError(ErrorKind.GIT_NOT_FOUND, str(error)) from error
    scheme = scheme_of(remote.url)
    _check_fit(scheme, remote.credential)
    config = {f"protocol.{scheme}.allow": "always"}
    paths = (str(git_dir), str(git_dir.parent)) if git_dir else ()
    match remote.credential:
        case SshCredential() as key:
            with tempfile.TemporaryDirectory(prefix="syncsvc-ssh-") as folder:
                env = environment(config, git_dir=git_dir) | _ssh_environment(key, Path(folder), limits)
                yield Access(Context(env, timeout, (*paths, folder), nice=limits.nice), [])
        case login:
            env = environment(config | _http_config(remote.url, scheme, login), git_dir=git_dir)
            # upload-pack refuses another user's repository, and hears neither GIT_CONFIG_* nor -c of the git before it.
            options = ["--upload-pack=git -c safe.directory=* upload-pack"] if scheme == "file" else []
            yield Access(Context(env, timeout, (*paths, *_secrets(login)), nice=limits.nice), options)


def _check_fit(scheme: str, credential: HttpCredential | SshCredential | None) -> None:
    if scheme == "ssh" and not isinstance(credential, SshCredential):
        raise NotAskedError(
            ErrorKind.GIT_AUTH,
            "An ssh remote needs a private key with pinned known hosts; give them as its credential.",
        )
    if scheme != "ssh" and isinstance(credential, SshCredential):
        raise NotAskedError(
            ErrorKind.GIT_AUTH, "This remote's URL is not ssh, but its credential is an ssh key; change one of them."
        )
    if scheme not in {"http", "https"} and isinstance(credential, HttpCredential):
        raise NotAskedError(
            ErrorKind.GIT_AUTH,
            "Only https and http remotes take a user name and token; change the URL or the credential.",
        )


def _http_config(url: str, scheme: str, credential: HttpCredential | None) -> dict[str, str]:
    if scheme not in {"http", "https"}:
        return {}
    # A credential goes to the host it was given for: no redirect is followed with one.
    # Without, an http remote may send us on to https.
    config = _LOW_SPEED | {
        "http.followRedirects": "false" if credential else "initial",
        "protocol.https.allow": "always",
    }
    if credential:
        parts = urlsplit(url)
        config[f"http.{parts.scheme}://{parts.netloc}/.extraHeader"] = credential.header
    return config


def _ssh_environment(credential: SshCredential, folder: Path, limits: GitLimits) -> dict[str, str]:
    key, known_hosts = folder / "key", folder / "known_hosts"
    for file, text in ((key, credential.private_key), (known_hosts, credential.known_hosts)):
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text.replace("\r\n", "\n").strip("\n") + "\n")
    options = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": os.devnull,
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(max(1, int(limits.ls_remote_timeout))),
        "ServerAliveInterval": "15",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ControlPath": "none",
        "LogLevel": "ERROR",
    }
    words = [
        "ssh",
        "-F",
        os.devnull,
        "-i",
        str(key),
        *(word for pair in options.items() for word in ("-o", "=".join(pair))),
    ]
    return {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}


def _secrets(credential: HttpCredential | None) -> tuple[str, ...]:
    if not credential:
        return ()
    # Some hosts take the token as the user name; a short one is a plain name.
    token_like = (credential.username,) if len(credential.username) > 15 else ()
    return (credential.token, credential.header.split()[-1], *token_like)


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"


def _parse_branch(lines: Sequence[str], branch: str) -> RemoteHead:
    commits = [
        line.split("\t")[0] for line in lines if line.endswith(f"\t{_ref(branch)}") and not line.startswith("ref:")
    ]
    return RemoteHead(branch, commits[0] if commits else None)


def _parse_head(lines: Sequence[str]) -> RemoteHead:
    branch, commit = DETACHED, None
    for line in lines:
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: refs/heads/"):
            branch = value.removeprefix("ref: refs/heads/")
        elif name == "HEAD" and not value.startswith("ref:"):
            commit = value
    return RemoteHead(branch if commit or branch != DETACHED else "", commit)


def _has_branches(remote: Remote, granted: Access) -> bool:
    arguments = ["ls-remote", "--quiet", "--heads", *granted.options, "--", remote.url]
    with GitProcess(arguments, granted.context) as process:
        if process.read_some():
            return True
        process.finish()
        return False


def _missing_branch(branch: str) -> str:
    if branch:
        return f"The branch {branch[:200]!r} is not on the remote; push it, or set this repository's branch to another."
    return "The remote's HEAD names a branch that is not there; set this repository's branch to one that is."
