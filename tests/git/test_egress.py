"""git connects to the addresses that were checked, by http, its own protocol and ssh, and to no other."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from syncsvc.egress.policy import Egress
from syncsvc.exceptions import GitError, NotAskedError
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, HttpCredential, Remote, SshCredential, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.delivery.authority import Authority
from tests.git.canaries import HOST, INSIDE, Canary, Names, canary, only
from tests.git.conftest import LIMITS
from tests.git.hostile import HostileServer, one_file
from tests.git.servers import SSHD, GitHttpServer, SshServer, git_daemon, plain_files
from tests.gitrepo import GitRepo

WAYS = ["http", "git", "ssh"]
NAME = "a.example"


class Place:
    """A repository that is served at one port of HOST, by the name `a.example`."""

    def __init__(self, way: str, repo: GitRepo, folder: Path, stack: ExitStack) -> None:
        self.commit = repo.commit({"a": b"1"})
        self._credential = None
        if way == "http":
            server = GitHttpServer(repo.path.parent)
            stack.callback(server.close)
            url = server.url("repo.git")
        elif way == "git":
            url = f"{stack.enter_context(git_daemon(repo.path.parent))}/repo.git"
        else:
            url = self._serve_ssh(repo, folder, stack)
        self.port = urlsplit(url).port or 0
        self.url = url.replace(HOST, NAME)

    @property
    def remote(self) -> Remote:
        return Remote(self.url, credential=self._credential)

    def _serve_ssh(self, repo: GitRepo, folder: Path, stack: ExitStack) -> str:
        if not SSHD.exists():
            assert "CI" not in os.environ, "sshd is missing; CI must install openssh-server"
            pytest.skip("sshd is not installed")
        server = SshServer(folder / "ssh")
        stack.callback(server.close)
        self._credential = SshCredential(server.private_key, server.known_hosts.replace(HOST, NAME))
        return server.url(repo.path)


def limits(egress: Egress, **options: float) -> GitLimits:
    return replace(LIMITS, egress=egress, **options)


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest, repo: GitRepo, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(request.param, repo, tmp_path, stack)


def error_of(remote: Remote, limits: GitLimits) -> GitError:
    with pytest.raises(GitError) as caught:
        remote_head(remote, limits)
    return caught.value


def test_git_goes_where_the_first_answer_led_and_asks_no_more(place: Place, make_mirror: Callable[..., Mirror]) -> None:
    """The name leads to an internal address as soon as it was checked."""
    with canary(port=place.port) as inside:
        names = Names(a_example=[[HOST], [INSIDE]])
        head = remote_head(place.remote, limits(only(names)))
        assert (head.commit, names.asked) == (place.commit, [NAME])
        names = Names(a_example=[[HOST], [INSIDE]])
        assert make_mirror(place.remote, limits=limits(only(names))).fetch(head) == place.commit
        assert names.asked == [NAME]
        assert inside.connections == 0


def test_each_call_checks_the_name_again(place: Place, make_mirror: Callable[..., Mirror]) -> None:
    with canary(port=place.port) as inside:
        strict = limits(only(Names(a_example=[[HOST], [INSIDE]])))
        head = remote_head(place.remote, strict)
        with pytest.raises(NotAskedError) as caught:
            make_mirror(place.remote, limits=strict).fetch(head)
        assert caught.value.kind is ErrorKind.GIT_FORBIDDEN_ADDRESS
        assert error_of(place.remote, strict).kind is ErrorKind.GIT_FORBIDDEN_ADDRESS
        assert inside.connections == 0


def test_of_a_name_with_internal_addresses_too_only_the_others_are_connected_to(place: Place) -> None:
    for answer in ([INSIDE, HOST], [HOST, INSIDE], ["::1", INSIDE, "::ffff:127.0.0.2", HOST]):
        with canary(port=place.port) as inside, canary("::1", place.port) as inside6:
            assert remote_head(place.remote, limits(only(Names(a_example=[answer])))).commit == place.commit
            assert (inside.connections, inside6.connections) == (0, 0)


def test_an_address_where_nobody_answers_is_passed_over(place: Place, make_mirror: Callable[..., Mirror]) -> None:
    egress = only(Names(a_example=[["127.0.0.3", HOST]]), "127.0.0.3", HOST)
    head = remote_head(place.remote, limits(egress))
    assert make_mirror(place.remote, limits=limits(egress)).fetch(head) == place.commit


def test_where_no_address_answers_that_is_said(place: Place) -> None:
    egress = only(Names(a_example=[["127.0.0.3", "127.0.0.4"]]), "127.0.0.3", "127.0.0.4")
    error = error_of(place.remote, limits(egress))
    assert error.kind is ErrorKind.GIT_UNREACHABLE
    assert "no connection is made" in str(error)
    assert "127.0.0" not in str(error)
    assert NAME in str(error)


def test_a_refusal_names_the_setting_and_no_address(place: Place) -> None:
    with canary(port=place.port) as inside:
        error = error_of(place.remote, limits(only(Names(a_example=[[INSIDE]]))))
        assert isinstance(error, NotAskedError)
        assert error.permanent
        assert str(error) == (
            "a.example leads to an address that is not public. Change the URL, or add the address's network to"
            " GIT_ALLOWED_NETWORKS."
        )
        assert inside.connections == 0


def test_a_port_that_is_not_listed_is_refused(place: Place) -> None:
    error = error_of(place.remote, limits(only(Names(a_example=[[HOST]]), ports=["22", "80"])))
    assert isinstance(error, NotAskedError)
    assert error.kind is ErrorKind.GIT_FORBIDDEN_ADDRESS
    assert f"Port {place.port} is refused" in str(error)
    assert "GIT_ALLOWED_PORTS" in str(error)


def test_no_proxy_of_the_environment_is_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with canary() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{INSIDE}:{proxy.port}")
        monkeypatch.setenv("GIT_PROXY_COMMAND", f"nc {INSIDE} {proxy.port}")
        assert remote_head(place.remote, limits(only(Names(a_example=[[HOST]])))).commit == place.commit
        assert proxy.connections == 0


def test_objects_that_plain_files_say_are_elsewhere_are_not_asked_for(
    repo: GitRepo, tmp_path: Path, make_mirror: Callable[..., Mirror]
) -> None:
    head = RemoteHead("main", repo.commit({"a": b"1"}))
    borrower = tmp_path / "served" / "borrower.git"
    borrower.parent.mkdir()
    repo.git("clone", "-q", "--bare", "--shared", str(repo.path), str(borrower))
    repo.git("--git-dir", str(borrower), "update-server-info")
    with canary() as inside, plain_files(borrower.parent) as base:
        for name in ("http-alternates", "alternates"):
            (borrower / "objects/info" / name).write_text(f"http://{INSIDE}:{inside.port}/repo.git/objects\n")
        with pytest.raises(GitError, match="alternates"):
            make_mirror(Remote(f"{base}/borrower.git")).fetch(head)
        assert inside.connections == 0


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "127.0.0.01"])
@pytest.mark.parametrize("scheme", ["http", "git"])
def test_a_host_that_programs_read_in_different_ways_is_refused(scheme: str, host: str) -> None:
    with canary(HOST) as inside:
        error = error_of(Remote(f"{scheme}://{host}:{inside.port}/a.git"), LIMITS)
        assert error.kind is ErrorKind.GIT_FORBIDDEN_ADDRESS
        assert inside.connections == 0


def test_the_server_of_gits_own_protocol_is_told_the_name() -> None:
    """A daemon that serves several hosts goes by it."""
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            heard.append(stream.read(int(stream.read(4), 16) - 4))

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        error_of(Remote(f"git://{NAME}:{port}/x/a.git"), limits(only(Names(a_example=[[HOST]]))))
        thread.join()
    assert heard[0].split(b"\0")[:2] == [b"git-upload-pack /x/a.git", f"host={NAME}:{port}".encode()]


class TestRedirects:
    """Five codes to each of these targets, with a credential and without."""

    @pytest.fixture
    def inside(self) -> Iterator[Canary]:
        with canary() as bird:
            yield bird

    @pytest.fixture
    def server(self, repo: GitRepo) -> Iterator[GitHttpServer]:
        server = GitHttpServer(repo.path.parent)
        yield server
        server.close()

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    @pytest.fixture
    def tls(self, repo: GitRepo, authority: Authority) -> Iterator[GitHttpServer]:
        server = GitHttpServer(repo.path.parent, tls=authority.server(NAME))
        yield server
        server.close()

    @pytest.mark.parametrize("has_credential", [False, True], ids=["without", "with"])
    @pytest.mark.parametrize(
        ("target", "followed"),
        [
            ("http://a.example:{port}/repo.git", {"without", "with"}),  # from /repo: .git is added
            ("/moved/../repo.git", {"without"}),
            ("https://a.example:{tls_port}/repo.git", {"without"}),
            ("http://b.example:{port}/repo.git", set()),
            ("http://127.0.0.2:{inside_port}/repo.git", set()),
            ("http://inside.example:{inside_port}/repo.git", set()),
            ("http://a.example:{inside_port}/repo.git", set()),  # by then the name leads inside
            ("http://user:password@a.example:{port}/repo.git", set()),
            ("git://a.example:{port}/repo.git", set()),
            ("file:///repo.git", set()),
        ],
    )
    def test_only_these_are_followed(
        self,
        repo: GitRepo,
        server: GitHttpServer,
        tls: GitHttpServer,
        authority: Authority,
        inside: Canary,
        target: str,
        followed: set[str],
        has_credential: bool,
    ) -> None:
        commit = repo.commit({"a": b"1"})
        ports = {"port": _port(server), "tls_port": _port(tls), "inside_port": inside.port}
        flips = "a.example:{inside_port}" in target
        credential = HttpCredential("robot", "t0ken") if has_credential else None
        remote = Remote(f"http://{NAME}:{_port(server)}/repo", "", credential, authority.file.read_text())
        if ".." in target:
            remote = replace(remote, url=f"http://{NAME}:{_port(server)}/old")
        for code in (301, 302, 303, 307, 308):
            names = Names(
                a_example=[[HOST], [INSIDE] if flips else [HOST]], b_example=[[HOST]], inside_example=[[INSIDE]]
            )
            location = f"{target.format(**ports)}/info/refs?service=git-upload-pack"
            server.redirects = {"/repo": (code, location), "/old": (code, location)}
            server.seen_authorizations.clear()
            tls.seen_authorizations.clear()
            if ("with" if has_credential else "without") in followed:
                assert remote_head(remote, limits(only(names))).commit == commit
            else:
                error = error_of(remote, limits(only(names)))
                assert error.kind in {ErrorKind.GIT_NOT_FOUND, ErrorKind.GIT_FORBIDDEN_ADDRESS}
                assert "redirect" in str(error)
                assert "password" not in str(error)
                assert len(server.seen_authorizations) == 1
                assert not tls.seen_authorizations
                assert set(names.asked) == {NAME}
        assert inside.connections == 0

    @pytest.mark.parametrize(
        "location",
        [
            *("", "/", "//", "?", "http://[", "/repo/info/refs?service=git-upload-pack", "/repo.git"),
            *("/repo.git/info/refs", "/repo.git/info/refs?service=git-receive-pack"),
        ],
    )
    def test_what_is_no_repository_is_not_followed(self, server: GitHttpServer, location: str) -> None:
        server.redirects = {"/repo": (302, location)}
        error = error_of(Remote(f"http://{NAME}:{_port(server)}/repo"), limits(only(Names(a_example=[[HOST]]))))
        assert error.kind is ErrorKind.GIT_NOT_FOUND
        assert "redirect" in str(error)
        assert len(server.seen_authorizations) == 1

    def test_a_circle_ends(self, server: GitHttpServer) -> None:
        server.redirects = {
            "/repo": (302, "/other/info/refs?service=git-upload-pack"),
            "/other": (302, "/repo/info/refs?service=git-upload-pack"),
        }
        error = error_of(Remote(f"http://{NAME}:{_port(server)}/repo"), limits(only(Names(a_example=[[HOST]]))))
        assert error.kind is ErrorKind.GIT_NOT_FOUND
        assert len(server.seen_authorizations) == 6

    def test_a_port_that_is_not_listed_is_refused_behind_a_redirect_too(
        self, server: GitHttpServer, inside: Canary
    ) -> None:
        location = f"http://{NAME}:{inside.port}/repo.git/info/refs?service=git-upload-pack"
        server.redirects = {"/repo": (302, location)}
        egress = only(Names(a_example=[[HOST]]), ports=[str(_port(server))])
        error = error_of(Remote(f"http://{NAME}:{_port(server)}/repo"), limits(egress))
        assert error.kind is ErrorKind.GIT_FORBIDDEN_ADDRESS
        assert not isinstance(error, NotAskedError)  # for the circuit of its host it was asked
        assert "redirect" in str(error)
        assert "GIT_ALLOWED_PORTS" in str(error)

    def test_a_fetch_follows_as_well(
        self, repo: GitRepo, server: GitHttpServer, make_mirror: Callable[..., Mirror]
    ) -> None:
        commit = repo.commit({"a": b"1"})
        server.redirects = {"/old": (301, "/repo.git/info/refs?service=git-upload-pack")}
        strict = limits(only(Names(a_example=[[HOST]])))
        remote = Remote(f"http://{NAME}:{_port(server)}/old")
        assert make_mirror(remote, limits=strict).fetch(remote_head(remote, strict)) == commit

    def test_an_empty_repository_behind_a_redirect_is_empty(self, server: GitHttpServer) -> None:
        server.redirects = {"/old": (301, "/repo.git/info/refs?service=git-upload-pack")}
        strict = limits(only(Names(a_example=[[HOST]])))
        assert remote_head(Remote(f"http://{NAME}:{_port(server)}/old"), strict).commit is None

    @pytest.mark.parametrize("code", [301, 302, 307, 308])
    def test_a_redirect_of_the_second_request_is_not_followed(
        self, repo: GitRepo, server: GitHttpServer, inside: Canary, code: int
    ) -> None:
        repo.commit({"a": b"1"})
        server.redirects = {"/repo.git/git-upload-pack": (code, f"http://{INSIDE}:{inside.port}/git-upload-pack")}
        error = error_of(Remote(f"http://{NAME}:{_port(server)}/repo.git"), limits(only(Names(a_example=[[HOST]]))))
        assert error.kind is ErrorKind.GIT_NOT_FOUND
        assert inside.connections == 0


def _port(server: GitHttpServer) -> int:
    return urlsplit(server.base).port or 0


class TestSsh:
    """What is pinned for a name holds for the address that the name led to."""

    @pytest.fixture
    def ssh(self, tmp_path: Path) -> Iterator[SshServer]:
        if not SSHD.exists():
            assert "CI" not in os.environ, "sshd is missing; CI must install openssh-server"
            pytest.skip("sshd is not installed")
        server = SshServer(tmp_path / "ssh")
        yield server
        server.close()

    def test_a_key_that_is_pinned_for_the_name_is_known_and_another_is_not(self, ssh: SshServer, repo: GitRepo) -> None:
        commit = repo.commit({"a": b"1"})
        strict = limits(only(Names(a_example=[[HOST]])))
        url = ssh.url(repo.path).replace(HOST, NAME)
        key, wrong = (line.split(" ", 1)[1] for line in (ssh.known_hosts, ssh.wrong_known_hosts))
        for pinned in (f"[{NAME}]:{ssh.port} {key}", f"{NAME} {key}", f"other.example {wrong}\n*.example {key}"):
            remote = Remote(url, credential=SshCredential(ssh.private_key, pinned))
            assert remote_head(remote, strict).commit == commit, pinned
        for pinned in (f"[{HOST}]:{ssh.port} {key}", f"{NAME} {wrong}", f"{NAME} {key}\n@revoked * {key}"):
            remote = Remote(url, credential=SshCredential(ssh.private_key, pinned))
            assert error_of(remote, strict).kind is ErrorKind.GIT_AUTH, pinned

    def test_a_host_with_a_certificate_is_known_by_its_authority(self, tmp_path: Path, repo: GitRepo) -> None:
        commit = repo.commit({"a": b"1"})
        server = SshServer(tmp_path / "certified", certified=NAME)
        try:
            pinned = f"@cert-authority *.example {server.authority}"
            credential = SshCredential(server.private_key, pinned)
            strict = limits(only(Names(a_example=[[HOST]], b_example=[[HOST]])))
            remote = Remote(server.url(repo.path).replace(HOST, NAME), credential=credential)
            assert remote_head(remote, strict).commit == commit
            other = replace(remote, url=remote.url.replace(NAME, "b.example"))
            assert error_of(other, strict).kind is ErrorKind.GIT_AUTH
        finally:
            server.close()


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "gopher"])
@pytest.mark.parametrize("address", [INSIDE, "::1"])
def test_packs_that_lie_elsewhere_are_not_asked_for(tmp_path: Path, scheme: str, address: str) -> None:
    """By protocol 2 a remote may name URLs of packs (packfile-uris); git asks there, wanted or not, at any port."""
    commit, pack = one_file()
    server = HostileServer(commit, lambda: [pack])
    with canary(address) as inside, server.serving() as url:
        host = f"[{address}]" if ":" in address else address
        server.elsewhere = [f"{scheme}://{host}:{inside.port}/a.pack"]
        allowed = limits(only(Names(), HOST))
        mirror = Mirror(tmp_path / "m", Remote(url), allowed)
        with pytest.raises(GitError) as caught:
            mirror.fetch(remote_head(mirror.remote, allowed))
        assert inside.connections == 0
    assert caught.value.kind in {ErrorKind.GIT_CORRUPT, ErrorKind.GIT_UNREACHABLE}
