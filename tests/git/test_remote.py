import contextlib
import os
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, HttpCredential, Remote, SshCredential, access, remote_head
from syncsvc.git.version import MINIMUM_VERSION, git_version, too_old
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LIMITS, LOCAL
from tests.git.servers import SSHD, GitHttpServer, SshServer, git_daemon, silent_server
from tests.gitrepo import GitRepo

TOKEN = "s3cr3t-t0ken"


def test_this_git_is_new_enough() -> None:
    assert git_version() >= MINIMUM_VERSION
    assert not too_old(git_version())


def test_an_older_git_is_refused_with_the_version_that_is_needed() -> None:
    assert too_old((2, 36, 6)) == "git 2.36.6 on this worker is too old; install git 2.37 or newer."
    assert not too_old((2, 37, 0))
    assert not too_old(())  # there is none: what starts it says so


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_blank_branch_is_the_remotes_head(tmp_path: Path, object_format: str) -> None:
    repo = GitRepo(tmp_path / "r", branch="trunk", object_format=object_format)
    commit = repo.commit({"a": b"1"})
    repo.commit({"a": b"2"}, branch="other")
    for url in (repo.url, str(repo.path)):
        assert remote_head(Remote(url), LIMITS) == RemoteHead("trunk", commit)


def test_a_named_branch_is_found_exactly(repo: GitRepo) -> None:
    repo.commit({"a": b"1"})
    commit = repo.commit({"a": b"2"}, branch="feature/x")
    repo.commit({"a": b"3"}, branch="x/refs/heads/feature/x")
    assert remote_head(Remote(repo.url, "feature/x"), LIMITS) == RemoteHead("feature/x", commit)


def test_a_missing_branch_says_what_to_do(repo: GitRepo) -> None:
    repo.commit({"a": b"1"})
    with pytest.raises(GitError, match=r"branch 'gone' is not on the remote.*set this repository's branch") as caught:
        remote_head(Remote(repo.url, "gone"), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


def test_a_head_that_names_a_missing_branch_is_not_an_empty_repository(repo: GitRepo) -> None:
    repo.commit({"a": b"1"}, branch="other")
    with pytest.raises(GitError, match="HEAD names a branch that is not there"):
        remote_head(Remote(repo.url), LIMITS)


def test_an_empty_repository_has_no_commit(repo: GitRepo) -> None:
    assert remote_head(Remote(repo.url), LIMITS).commit is None


def test_a_detached_head_is_followed(repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
    first = repo.commit({"a": b"1"})
    repo.commit({"a": b"2"})
    repo.git("update-ref", "--no-deref", "HEAD", first)
    head = remote_head(Remote(repo.url), LIMITS)
    assert head == RemoteHead("", first)
    assert make_mirror().fetch(head) == first


def test_a_missing_local_repository_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(GitError) as caught:
        remote_head(Remote(f"file://{tmp_path}/nothing"), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


def test_a_local_remote_of_another_user_can_be_read(repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
    if os.geteuid():
        assert "CI" not in os.environ, "CI must run as root: see .ci/run"
        pytest.skip("needs root to give files away")
    commit = repo.commit({"a": b"1"})
    for folder, _, names in os.walk(repo.path):
        for name in (".", *names):
            os.chown(os.path.join(folder, name), 65534, 65534)
    head = remote_head(Remote(repo.url), LIMITS)
    assert make_mirror().fetch(head) == commit


def test_a_local_remote_is_refused_where_it_is_not_allowed(repo: GitRepo) -> None:
    with pytest.raises(GitError) as refused:
        remote_head(Remote(repo.url), GitLimits())
    assert refused.value.kind is ErrorKind.GIT_NOT_FOUND


def test_nothing_of_our_environment_reaches_git(repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repo.commit({"a": b"1"})
    other = GitRepo(tmp_path / "other")
    evil = tmp_path / "evil"
    evil.write_text(f'[url "file://{other.path}"]\n\tinsteadOf = {repo.url}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(evil))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'url.file://{other.path}.insteadof={repo.url}'")
    monkeypatch.setenv("GIT_DIR", str(other.path))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert remote_head(Remote(repo.url), LIMITS).commit == commit
    assert not (tmp_path / "trace").exists()


def test_http_with_the_right_token(
    repo: GitRepo, private_server: GitHttpServer, make_mirror: Callable[..., Mirror]
) -> None:
    commit = repo.commit({"a": b"1"})
    remote = Remote(private_server.url("repo.git"), credential=HttpCredential("robot", TOKEN))
    head = remote_head(remote, LIMITS)
    assert head == RemoteHead("main", commit)
    mirror = make_mirror(remote)
    assert mirror.fetch(head) == commit
    assert "" not in private_server.seen_authorizations  # sent at once: no round trip for a 401


@pytest.mark.parametrize("credential", [None, HttpCredential("robot", "wr0ng-t0ken")])
def test_http_with_a_wrong_or_missing_token_fails_at_once(
    repo: GitRepo, private_server: GitHttpServer, credential: HttpCredential | None
) -> None:
    repo.commit({"a": b"1"})
    with pytest.raises(GitError, match="refused the credential") as caught:
        remote_head(Remote(private_server.url("repo.git"), credential=credential), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_AUTH
    assert caught.value.permanent
    assert "wr0ng" not in str(caught.value)


def test_an_unknown_repository_over_http_is_not_found(http_server: GitHttpServer) -> None:
    with pytest.raises(GitError) as caught:
        remote_head(Remote(http_server.url("nothing.git")), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


def test_a_page_that_is_no_repository_is_not_found(http_server: GitHttpServer) -> None:
    http_server.status = 200
    with pytest.raises(GitError, match="check the URL") as caught:
        remote_head(Remote(http_server.url("repo.git")), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_unreachable_and_tried_again(http_server: GitHttpServer, status: int) -> None:
    http_server.status = status
    with pytest.raises(GitError) as caught:
        remote_head(Remote(http_server.url("repo.git")), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_UNREACHABLE
    assert not caught.value.permanent


def test_a_token_is_nowhere_but_in_the_environment(
    repo: GitRepo, private_server: GitHttpServer, make_mirror: Callable[..., Mirror]
) -> None:
    repo.commit({"a": b"1"})
    remote = Remote(private_server.url("repo.git"), credential=HttpCredential("robot", TOKEN))
    encoded = private_server.authorization.split()[1]
    private_server.delay = 0.15
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    mirror = make_mirror(remote)
    mirror.fetch(remote_head(remote, LIMITS))
    done.set()
    watcher.join()
    assert any(b"remote-http" in line and private_server.base.encode() in line for line in seen)
    assert not any(TOKEN.encode() in line or encoded.encode() in line for line in seen)
    for file in mirror.path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert TOKEN.encode() not in content
            assert encoded.encode() not in content
    assert TOKEN not in repr(remote)


def test_a_credential_is_not_taken_along_by_a_redirect(
    repo: GitRepo, private_server: GitHttpServer, http_server: GitHttpServer
) -> None:
    repo.commit({"a": b"1"})
    private_server.redirect_to = http_server.base
    remote = Remote(private_server.url("repo.git"), credential=HttpCredential("robot", TOKEN))
    with pytest.raises(GitError, match="redirect") as caught:
        remote_head(remote, LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND
    assert not http_server.seen_authorizations


def test_without_a_credential_a_first_redirect_is_followed(
    repo: GitRepo, private_server: GitHttpServer, http_server: GitHttpServer
) -> None:
    commit = repo.commit({"a": b"1"})
    private_server.redirect_to = http_server.base
    assert remote_head(Remote(private_server.url("repo.git")), LIMITS).commit == commit


def test_git_daemon(repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
    commit = repo.commit({"a": b"1"})
    with git_daemon(repo.path.parent) as base:
        remote = Remote(f"{base}/repo.git")
        assert make_mirror(remote).fetch(remote_head(remote, LIMITS)) == commit
        with pytest.raises(GitError) as caught:
            remote_head(Remote(f"{base}/nothing.git"), LIMITS)
        assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.git", "git://127.0.0.1:1/a", "http://nowhere.invalid/a.git"])
def test_a_remote_that_does_not_answer_is_unreachable(url: str) -> None:
    with pytest.raises(GitError, match="cannot be reached") as caught:
        remote_head(Remote(url), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_UNREACHABLE


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_a_server_that_hangs_up_at_once_is_unreachable(scheme: str) -> None:
    """git dies of SIGPIPE, without a word, where it writes its question to a connection that has ended."""

    def hang_up(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        try:
            for _ in range(10):
                with pytest.raises(GitError) as caught:
                    remote_head(Remote(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/a.git"), LIMITS)
                assert caught.value.kind is ErrorKind.GIT_UNREACHABLE
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_a_remote_that_hangs_is_ended_with_all_its_processes(scheme: str) -> None:
    with silent_server() as port:
        url = f"{scheme}://127.0.0.1:{port}/a.git"
        started = time.monotonic()
        with pytest.raises(GitError, match=r"longer than 0\.5 s") as caught:
            remote_head(Remote(url), GitLimits(egress=LOCAL, ls_remote_timeout=0.5))
        assert caught.value.kind is ErrorKind.GIT_TIMEOUT
        assert time.monotonic() - started < 3
        assert not _processes_with(url)


@pytest.mark.parametrize(
    ("url", "credential"),
    [
        ("ssh://git@127.0.0.1/a", None),
        ("ssh://git@127.0.0.1/a", HttpCredential("a", "b")),
        ("https://127.0.0.1/a", SshCredential("a", "b")),
        ("git://127.0.0.1/a", HttpCredential("a", "b")),
    ],
)
def test_a_credential_that_does_not_fit_the_url_is_told_before_git_runs(
    url: str, credential: HttpCredential | SshCredential | None
) -> None:
    with pytest.raises(GitError) as caught:
        remote_head(Remote(url, credential=credential), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_AUTH


def test_a_private_key_lives_in_a_private_folder_for_as_long_as_it_is_used() -> None:
    credential = SshCredential("KEY\r\nDATA", "host key")
    with access(Remote("git@127.0.0.1:a", credential=credential), LIMITS, timeout=1) as granted:
        env = granted.command(["ls-remote"])[1].env
        key = Path(env["GIT_SSH_COMMAND"].split()[-1]).with_name("key")
        assert key.read_text() == "KEY\nDATA\n"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
        assert "DATA" not in str(env)
    assert not key.parent.exists()
    assert "DATA" not in repr(credential)


class TestSsh:
    @pytest.fixture
    def ssh(self, tmp_path: Path) -> Iterator[SshServer]:
        if not SSHD.exists():
            if os.environ.get("CI"):
                pytest.fail("sshd is missing; CI must install openssh-server")
            pytest.skip("sshd is not installed")
        server = SshServer(tmp_path / "ssh")
        yield server
        server.close()

    def test_the_right_key_and_a_pinned_host(
        self, ssh: SshServer, repo: GitRepo, make_mirror: Callable[..., Mirror]
    ) -> None:
        commit = repo.commit({"a": b"1"})
        remote = Remote(ssh.url(repo.path), credential=SshCredential(ssh.private_key, ssh.known_hosts))
        assert make_mirror(remote).fetch(remote_head(remote, LIMITS)) == commit

    def test_a_key_that_is_not_accepted(self, ssh: SshServer, repo: GitRepo) -> None:
        remote = Remote(ssh.url(repo.path), credential=SshCredential(ssh.strangers_key, ssh.known_hosts))
        with pytest.raises(GitError, match="refused the credential") as caught:
            remote_head(remote, LIMITS)
        assert caught.value.kind is ErrorKind.GIT_AUTH

    def test_text_that_is_no_key(self, ssh: SshServer, repo: GitRepo) -> None:
        with pytest.raises(GitError) as caught:
            remote_head(Remote(ssh.url(repo.path), credential=SshCredential("no key", ssh.known_hosts)), LIMITS)
        assert caught.value.kind is ErrorKind.GIT_AUTH
        assert "syncsvc-ssh-" not in str(caught.value)

    @pytest.mark.parametrize("pinned", ["", "wrong"])
    def test_a_host_that_is_not_pinned(self, ssh: SshServer, repo: GitRepo, pinned: str) -> None:
        known_hosts = ssh.wrong_known_hosts if pinned else ""
        with pytest.raises(GitError, match="not among the pinned known hosts") as caught:
            remote_head(Remote(ssh.url(repo.path), credential=SshCredential(ssh.private_key, known_hosts)), LIMITS)
        assert caught.value.kind is ErrorKind.GIT_AUTH

    def test_a_repository_that_is_not_there(self, ssh: SshServer, tmp_path: Path) -> None:
        remote = Remote(ssh.url(tmp_path / "nothing"), credential=SshCredential(ssh.private_key, ssh.known_hosts))
        with pytest.raises(GitError) as caught:
            remote_head(remote, LIMITS)
        assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


def _processes_with(text: str) -> str:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in listing.splitlines() if text in line and "ps -eo" not in line)
