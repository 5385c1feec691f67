"""git through a proxy: each transport, real servers, and what a failure of the proxy's own is called."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncsvc.egress import connect
from syncsvc.egress.proxy import Proxy
from syncsvc.exceptions import GitError
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, HttpCredential, Remote, SshCredential, remote_head
from syncsvc.types import ErrorKind
from tests.delivery.authority import Authority
from tests.egress.proxy import ProxyServer
from tests.git.conftest import LIMITS
from tests.git.servers import SSHD, GitHttpServer, SshServer, free_port, git_daemon
from tests.gitrepo import GitRepo

LOGIN = "Basic bWU6Z2VoZWlt"  # me:geheim
TRANSPORTS = ["http", "https", "git", *(["ssh"] if SSHD.exists() else [])]


@pytest.fixture
def commit(repo: GitRepo) -> str:
    return repo.commit({"a": b"1", "b": b"2" * 100_000})


@contextlib.contextmanager
def served(transport: str, repo: GitRepo, folder: Path) -> Iterator[Remote]:
    if transport == "git":
        with git_daemon(repo.path.parent) as base:
            yield Remote(f"{base}/repo.git")
    elif transport == "ssh":
        server = SshServer(folder / "ssh")
        try:
            yield Remote(server.url(repo.path), credential=SshCredential(server.private_key, server.known_hosts))
        finally:
            server.close()
    else:
        authority = Authority(folder)
        http = GitHttpServer(repo.path.parent, tls=authority.server() if transport == "https" else None)
        try:
            yield Remote(http.url("repo.git"), ca_certificate=authority.file.read_text())
        finally:
            http.close()


@pytest.fixture(params=TRANSPORTS)
def remote(request: pytest.FixtureRequest, repo: GitRepo, commit: str, tmp_path: Path) -> Iterator[Remote]:
    with served(request.param, repo, tmp_path) as found:
        yield found


def through(proxy: Proxy, limits: GitLimits = LIMITS) -> GitLimits:
    return replace(limits, egress=replace(limits.egress, proxy=proxy))


def port_of(remote: Remote) -> str:
    return remote.url.split("127.0.0.1:")[1].split("/")[0]


def refusal(remote: Remote, proxy: Proxy) -> GitError:
    with pytest.raises(GitError) as refused:
        remote_head(remote, through(proxy))
    assert "geheim" not in str(refused.value)
    return refused.value


def test_git_goes_through_the_proxy(remote: Remote, commit: str, make_mirror: Callable[..., Mirror]) -> None:
    with ProxyServer(login=LOGIN) as server:
        limits = through(server.proxy("me:geheim@"))
        head = remote_head(remote, limits)
        assert make_mirror(remote, limits=limits).fetch(head) == commit
    assert set(server.targets) == {f"127.0.0.1:{port_of(remote)}"}
    if not remote.url.startswith("http:"):
        assert {each.method for each in server.asked} == {"CONNECT"}


def test_a_proxy_that_is_not_there_is_the_proxys_failure_and_nothing_goes_directly(remote: Remote) -> None:
    error = refusal(remote, Proxy("127.0.0.1", free_port(), "me", "geheim"))
    assert error.kind is ErrorKind.EGRESS_PROXY
    assert "EGRESS_PROXY" in str(error)


def test_a_proxy_that_is_not_found_is_the_proxys_failure(remote: Remote) -> None:
    assert refusal(remote, Proxy("no-such-proxy.invalid", 1)).kind is ErrorKind.EGRESS_PROXY


@pytest.mark.parametrize("login", ["", "me:falsch@"])
def test_a_proxy_that_wants_another_login_is_called_that(remote: Remote, login: str) -> None:
    with ProxyServer(login=LOGIN) as server:
        error = refusal(remote, server.proxy(login))
    assert error.kind is ErrorKind.EGRESS_PROXY
    assert "password" in str(error)
    assert "falsch" not in str(error)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("407 Request rejected by proxy\r\nX-Smokescreen-Error: denied", ErrorKind.GIT_FORBIDDEN_ADDRESS),
        ("403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0", ErrorKind.GIT_FORBIDDEN_ADDRESS),
        ("502 Bad Gateway", ErrorKind.GIT_UNREACHABLE),
        ("504 Gateway Timeout", ErrorKind.GIT_TIMEOUT),
        ("500 Unable to connect", ErrorKind.GIT_UNREACHABLE),
        ("429 Too Many Requests\r\nX-Squid-Error: ERR_TOO_MANY 0", ErrorKind.EGRESS_PROXY),
    ],
)
def test_what_a_proxy_answers_blames_nobody_else(remote: Remote, head: str, kind: ErrorKind) -> None:
    with ProxyServer() as server:
        server.answer = f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode()
        error = refusal(remote, server.proxy())
    assert error.kind is kind
    assert "egress proxy" in str(error)


def test_a_proxy_that_breaks_off(remote: Remote) -> None:
    with ProxyServer() as server:
        server.answer = b""
        error = refusal(remote, server.proxy())
    # Of a plain request nobody knows whether it was the remote that broke off behind the proxy.
    expected = ErrorKind.GIT_UNREACHABLE if remote.url.startswith("http:") else ErrorKind.EGRESS_PROXY
    assert error.kind is expected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("scheme", ["http", "https", "git", "ssh"])
def test_a_proxy_is_not_asked_for_what_is_inside(scheme: str, host: str) -> None:
    credential = SshCredential("key", "host key") if scheme == "ssh" else None
    with ProxyServer() as server:
        limits = through(server.proxy(), GitLimits())
        with pytest.raises(GitError) as refused:
            remote_head(Remote(f"{scheme}://{host}/repo.git", credential=credential), limits)
        assert refused.value.kind in {ErrorKind.GIT_FORBIDDEN_ADDRESS, ErrorKind.GIT_NOT_FOUND}
    assert server.connections == 0


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "https"])  # its certificate has one name
def test_a_name_that_only_the_proxy_knows(transport: str, repo: GitRepo, commit: str, tmp_path: Path) -> None:
    with served(transport, repo, tmp_path) as remote:
        place = ("127.0.0.1", int(port_of(remote)))
        credential = remote.credential
        if isinstance(credential, SshCredential):
            credential = replace(credential, known_hosts=credential.known_hosts.replace("127.0.0.1", "known.invalid"))
        url = remote.url.replace("127.0.0.1", "known.invalid")
        with ProxyServer(leads={"known.invalid": place}) as server:
            limits = through(server.proxy())
            assert remote_head(Remote(url, credential=credential), limits).commit == commit
        assert set(server.targets) == {f"known.invalid:{place[1]}"}


def test_a_credential_of_the_remote_is_not_the_proxys(private_server: GitHttpServer, commit: str) -> None:
    remote = Remote(private_server.url("repo.git"), credential=HttpCredential("robot", "s3cr3t-t0ken"))
    with ProxyServer(login=LOGIN) as server:
        assert remote_head(remote, through(server.proxy("me:geheim@"))).commit == commit
    assert {each.headers["proxy-authorization"] for each in server.asked} == {LOGIN}
    assert LOGIN not in private_server.seen_authorizations


def test_the_program_can_be_started() -> None:
    assert shutil.which(connect.__file__)
