"""A remote, how to log in to it, and where its branch stands."""

import base64
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from syncsvc.egress.policy import Egress
from syncsvc.exceptions import GitError, InvalidCredentialError, InvalidUrlError, NotAskedError
from syncsvc.git.access import Access, Terms
from syncsvc.git.authorities import read_certificates, write_bundle
from syncsvc.git.bounds import Bounds
from syncsvc.git.complaints import NOT_GIT
from syncsvc.git.detour import ssh_command
from syncsvc.git.disk import own_disk, temporary_folder
from syncsvc.git.errors import at_remote
from syncsvc.git.known_hosts import pinned_for
from syncsvc.git.process import PATIENCE, Context
from syncsvc.git.refs import head_of_branch, head_of_remote, ref_of
from syncsvc.git.route import HTTP, git_egress
from syncsvc.git.ssh import explain_refusal, ssh_environment
from syncsvc.git.url import check_url, scheme_of
from syncsvc.git.wire import Wire
from syncsvc.types import ErrorKind, RemoteHead

_NOTHING_SHOWN = (
    "The remote shows no branch and no HEAD, and does not say that it is empty: they may be hidden from this"
    " credential. Check the credential, and which refs the remote hides."
)
_NO_HEAD = (
    "The remote's HEAD names a branch that is not there; set this repository's branch to one that is, or push it."
)
_NO_BRANCHES = "The remote has tags or other refs, but no branch; push one."


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
    """`branch` blank follows the remote's HEAD. `ca_certificate` is PEM, trusted besides the public authorities."""

    url: str
    branch: str = ""
    credential: HttpCredential | SshCredential | None = None
    ca_certificate: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class GitLimits:
    """Seconds of silence after which git is ended: in a fetch or a stream, and where it asks for a branch.

    `nice` is how much git lets others go first, as `nice(1)` has it: 0 as everybody, 19 only where nobody wants to.
    `ca_file` names a file of certificates trusted besides the public authorities. `full_fetch_bytes` bounds the mirror
    of a remote that gives no commit without its history. `max_files` bounds the files of a commit, `plan_seconds` the
    whole time that one run reads and compares them. `bounds` are those of each git, `repository_bytes` bounds a mirror,
    also while a fetch writes to it; 0 is no limit. `egress` says what git may connect to; without one, public addresses
    at git's usual ports. `interrupt` is called once a second while git is at work; it may raise, which ends git.
    """

    timeout: float = 600
    ls_remote_timeout: float = 30
    allow_local: bool = False
    nice: int = 0
    ca_file: str = ""
    full_fetch_bytes: int = 2 * 1024**3
    max_files: int = 2_000_000
    plan_seconds: float = 900
    repository_bytes: int = 0
    bounds: Bounds = field(default_factory=Bounds)
    egress: Egress = field(default_factory=git_egress)
    interrupt: Callable[[], None] | None = None


def remote_head(remote: Remote, limits: GitLimits) -> RemoteHead:
    """Asks the remote where the branch stands, with one `ls-remote`.

    Commit None is the answer of a repository without any ref, for a blank branch only. Whatever else is no commit
    raises git_not_found: a branch that is missing, and over http what is no answer in git's protocol.
    """
    try:
        return _remote_head(remote, limits)
    except GitError as error:  # no mirror is read for it
        raise at_remote(error) from error


def _remote_head(remote: Remote, limits: GitLimits) -> RemoteHead:
    with access(remote, limits, timeout=limits.ls_remote_timeout, setting="GIT_LS_REMOTE_TIMEOUT") as granted:
        # --heads narrows what a server of protocol 2 sends; a pattern alone is matched on this side.
        heads, wanted = (["--heads"], ref_of(remote.branch)) if remote.branch else ([], "HEAD")
        asked = granted.ask(["ls-remote", "--quiet", "--symref", *heads], wanted)
        head = head_of_branch(asked.output, remote.branch) if remote.branch else head_of_remote(asked.output)
        if head.commit is not None:
            return head
        _insist_on_git(remote, asked.wire)
        if remote.branch:
            raise GitError(ErrorKind.GIT_NOT_FOUND, _missing_branch(remote.branch))
        return _empty(granted, PATIENCE * limits.ls_remote_timeout)


@contextlib.contextmanager
def access(
    remote: Remote, limits: GitLimits, *, timeout: float, git_dir: Path | None = None, setting: str = "GIT_TIMEOUT"
) -> Iterator[Access]:
    """Lets git reach this remote and no other; a private key lies on disk as long as the context lasts."""
    try:
        check_url(remote.url, allow_local=limits.allow_local)
    except InvalidUrlError as error:  # what was allowed when it was stored need not be now
        raise NotAskedError(ErrorKind.GIT_NOT_FOUND, str(error)) from error
    scheme, proxy = scheme_of(remote.url), limits.egress.proxy
    _check_fit(scheme, remote.credential)
    with _private_folder(remote, limits, scheme) as folder:
        config = _http_config(remote.url, remote.credential) | (
            _trust(remote, limits, folder) if scheme in HTTP else {}
        )
        paths = (str(git_dir), str(git_dir.parent)) if git_dir else ()
        context = Context(
            # What comes in a fetch is too much to be traced; of a long list of refs nothing else tells that it comes.
            env={"GIT_TRACE_CURL_NO_DATA": "1"} if git_dir else {},
            timeout=timeout,
            hide=(*paths, str(folder), *_secrets(remote.credential), *(proxy.secrets if proxy else ())),
            nice=limits.nice,
            interrupt=limits.interrupt,
            setting=setting,
            folder=str(git_dir.parent) if git_dir else "",
            traces=("GIT_TRACE2_EVENT", *(("GIT_TRACE_CURL",) if scheme in HTTP else ())),
            bounds=replace(limits.bounds, file_bytes=limits.repository_bytes if git_dir else 0),
            proxy=proxy.authority if proxy else "",
        )
        terms = Terms(
            egress=limits.egress,
            context=context,
            config=config,
            git_dir=git_dir,
            timeout=limits.ls_remote_timeout,
            has_credential=remote.credential is not None,
            ssh=partial(_ssh, remote.credential, folder, ssh_command() if proxy else ""),
        )
        try:
            yield Access(remote.url, terms)
        except GitError as error:
            if error.kind is ErrorKind.GIT_AUTH and isinstance(remote.credential, SshCredential):
                raise explain_refusal(error, remote.credential.private_key) from error
            raise


@contextlib.contextmanager
def _private_folder(remote: Remote, limits: GitLimits, scheme: str) -> Iterator[Path]:
    """A folder for a key and certificates, which git takes from files only; made only where one is needed."""
    if not isinstance(remote.credential, SshCredential) and not (
        scheme in HTTP and (remote.ca_certificate or limits.ca_file)
    ):
        yield Path("/nonexistent/syncsvc-git")
        return
    with own_disk(temporary_folder()):
        folder = tempfile.TemporaryDirectory(prefix="syncsvc-git-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


def _ssh(
    credential: HttpCredential | SshCredential | None,
    folder: Path,
    command: str,
    host: str,
    port: int,
    address: str,
    seconds: float,
) -> Mapping[str, str]:
    if not isinstance(credential, SshCredential):
        return {}
    with own_disk(folder.parent):
        pinned = pinned_for(host, port, credential.known_hosts)
        return ssh_environment(
            credential.private_key, pinned, folder, address=address, connect_timeout=seconds, command=command
        )


def _trust(remote: Remote, limits: GitLimits, folder: Path) -> dict[str, str]:
    besides = [remote.ca_certificate] if remote.ca_certificate else []
    if limits.ca_file:
        try:
            besides.append(read_certificates(limits.ca_file))
        except InvalidCredentialError as error:
            raise GitError(ErrorKind.INTERNAL, f"GIT_CA_FILE is set to a file that cannot be used. {error}") from error
    if not besides:
        return {}
    bundle = folder / "authorities.pem"
    with own_disk(folder.parent):
        write_bundle(bundle, besides)
    return {"http.sslCAInfo": str(bundle)}


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
    if scheme not in HTTP and isinstance(credential, HttpCredential):
        raise NotAskedError(
            ErrorKind.GIT_AUTH,
            "Only https and http remotes take a user name and token; change the URL or the credential.",
        )


def _http_config(url: str, credential: HttpCredential | SshCredential | None) -> dict[str, str]:
    """A credential goes to the host that it was given for."""
    if not isinstance(credential, HttpCredential):
        return {}
    parts = urlsplit(url)
    return {f"http.{parts.scheme}://{parts.netloc}/.extraHeader": credential.header}


def _secrets(credential: HttpCredential | SshCredential | None) -> tuple[str, ...]:
    if not isinstance(credential, HttpCredential):
        return ()
    # Some hosts take the token as the user name; a short one is a plain name.
    token_like = (credential.username,) if len(credential.username) > 15 else ()
    return (credential.token, credential.header.split()[-1], *token_like)


def _insist_on_git(remote: Remote, wire: Wire) -> None:
    """Over http git takes any page for an empty list of refs; only an answer of git's own content type is one.

    That is the last one: by protocol 2 the first only says what the server can do.
    """
    if scheme_of(remote.url) in HTTP and not (wire.answer and wire.answer.is_smart):
        raise GitError(ErrorKind.GIT_NOT_FOUND, NOT_GIT)


def _empty(granted: Access, patience: float) -> RemoteHead:
    """Returns a head without commit for an empty repository; raises where HEAD has no commit for another reason."""
    deadline = time.monotonic() + patience
    with granted.start(["ls-remote", "--quiet"], trace="GIT_TRACE_PACKET") as process:
        if refs := process.read_some(deadline):
            raise GitError(ErrorKind.GIT_NOT_FOUND, _NO_HEAD if b"\trefs/heads/" in refs else _NO_BRANCHES)
        process.finish(deadline)
        packets = process.wire.packets
    # A server that can tell of a HEAD without commits ("unborn") does so for an empty repository.
    if "ls-refs=unborn" in packets and not any(line.startswith("unborn HEAD") for line in packets):
        raise GitError(ErrorKind.GIT_NOT_FOUND, _NOTHING_SHOWN)
    return RemoteHead("", None)


def _missing_branch(branch: str) -> str:
    return f"The branch {branch[:200]!r} is not on the remote; push it, or set this repository's branch to another."
