"""Time limits count silence, not the time that data takes; they name their setting, and a trickle ends some day."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.leftovers import FETCH_MARK
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote, SshCredential, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LOCAL
from tests.git.servers import (
    GitHttpServer,
    SshServer,
    git_daemon,
    odd_server,
    plain_files,
    processes_with,
    silent_server,
    slow_line,
)
from tests.gitrepo import GitRepo

SMART = {"Content-Type": "application/x-git-upload-pack-advertisement"}


@pytest.fixture
def many_refs(repo: GitRepo) -> RemoteHead:
    """A repository whose list of refs takes a while over a slow line."""
    return add_refs(repo, 300)


def add_refs(repo: GitRepo, count: int) -> RemoteHead:
    commit = repo.commit({"a": b"1"})
    lines = "".join(f"create refs/heads/branch-{number} {commit}\n" for number in range(count))
    repo.git("update-ref", "--stdin", data=lines.encode())
    return RemoteHead("main", commit)


@pytest.mark.parametrize("protocol", ["http", "git"])
def test_a_list_of_refs_may_take_longer_than_the_limit_of_silence(
    repo: GitRepo, http_server: GitHttpServer, many_refs: RemoteHead, protocol: str
) -> None:
    limits = GitLimits(egress=LOCAL, ls_remote_timeout=0.6)  # of more than two seconds
    if protocol == "http":
        http_server.pace = 0.1
        assert remote_head(Remote(http_server.url("repo.git")), limits) == many_refs
        return
    with git_daemon(repo.path.parent) as base, slow_line(urlsplit(base).port or 0, size=1000, pace=0.1) as port:
        assert remote_head(Remote(f"git://127.0.0.1:{port}/repo.git"), limits) == many_refs


def test_a_list_of_refs_over_a_slow_ssh(tmp_path: Path, repo: GitRepo) -> None:
    """ssh passes data on by the packet of 32 KB, which takes a second here; the list is four of them and more."""
    head = add_refs(repo, 2000)
    ssh = SshServer(tmp_path / "ssh")
    try:
        with slow_line(ssh.port, size=8000, pace=0.3) as port:
            pinned = ssh.known_hosts.replace(str(ssh.port), str(port))
            url = ssh.url(repo.path).replace(str(ssh.port), str(port))
            remote = Remote(url, credential=SshCredential(ssh.private_key, pinned))
            assert remote_head(remote, GitLimits(egress=LOCAL, ls_remote_timeout=4)) == head
    finally:
        ssh.close()


@pytest.mark.parametrize("body", [b"", b"version 2\n"])
def test_a_remote_that_falls_silent_is_ended_and_the_setting_is_named(body: bytes) -> None:
    with contextlib.ExitStack() as stack:
        if body:
            base = stack.enter_context(odd_server(body * 400, headers=SMART, pace=0.9))
        else:
            base = f"http://127.0.0.1:{stack.enter_context(silent_server())}"
        with pytest.raises(GitError, match=r"0\.5 s \(GIT_LS_REMOTE_TIMEOUT\)") as caught:
            remote_head(Remote(f"{base}/a.git"), GitLimits(egress=LOCAL, ls_remote_timeout=0.5))
    assert caught.value.kind is ErrorKind.GIT_TIMEOUT


def test_a_trickle_without_end_is_ended_and_the_setting_is_named() -> None:
    refs = b"".join(b"%s\trefs/heads/branch-%d\n" % (b"1" * 40, number) for number in range(1000))
    with odd_server(refs, pace=0.05, endless=True) as base:
        with pytest.raises(GitError, match=r"12 times GIT_LS_REMOTE_TIMEOUT") as caught:
            remote_head(Remote(f"{base}/a.git"), GitLimits(egress=LOCAL, ls_remote_timeout=0.3))
        assert caught.value.kind is ErrorKind.GIT_TIMEOUT
        assert not processes_with(base)


@pytest.fixture
def large(repo: GitRepo) -> RemoteHead:
    noise = random.Random(8)
    files = {f"f{number}": noise.randbytes(3000) for number in range(120)}
    return RemoteHead("main", repo.commit(files | {"big": noise.randbytes(300_000)}))


@pytest.mark.parametrize("files", ["many", "one"])
@pytest.mark.parametrize("protocol", ["http", "git"])
def test_a_fetch_may_take_longer_than_the_limit_of_silence(
    repo: GitRepo,
    http_server: GitHttpServer,
    large: RemoteHead,
    make_mirror: Callable[..., Mirror],
    protocol: str,
    files: str,
) -> None:
    if files == "one":  # few objects are unpacked by another program
        large = RemoteHead("main", repo.commit({"big": random.Random(9).randbytes(600_000)}, orphan=True))
    with contextlib.ExitStack() as stack:
        base = http_server.base if protocol == "http" else stack.enter_context(git_daemon(repo.path.parent))
        # Of two or three seconds.
        port = stack.enter_context(slow_line(urlsplit(base).port or 0, size=25_000, pace=0.1))
        remote = Remote(f"{protocol}://127.0.0.1:{port}/repo.git")
        mirror = make_mirror(remote, limits=GitLimits(egress=LOCAL, timeout=1))
        assert mirror.fetch(large) == large.commit


def test_a_fetch_of_plain_files_may_too(repo: GitRepo, large: RemoteHead, make_mirror: Callable[..., Mirror]) -> None:
    repo.git("update-server-info")
    with plain_files(repo.path.parent) as base, slow_line(urlsplit(base).port or 0, size=20_000, pace=0.05) as port:
        mirror = make_mirror(Remote(f"http://127.0.0.1:{port}/repo.git"), limits=GitLimits(egress=LOCAL, timeout=1))
        assert mirror.fetch(large) == large.commit


def test_a_fetch_that_falls_silent_is_ended_and_the_setting_is_named(
    http_server: GitHttpServer, large: RemoteHead, make_mirror: Callable[..., Mirror]
) -> None:
    mirror = make_mirror(Remote(http_server.url("repo.git")), limits=GitLimits(egress=LOCAL, timeout=1.2))
    http_server.stall.set()
    with pytest.raises(GitError, match=r"1\.2 s \(GIT_TIMEOUT\)") as caught:
        mirror.fetch(large)
    assert caught.value.kind is ErrorKind.GIT_TIMEOUT
    assert not processes_with(f"{FETCH_MARK}={mirror.path}")


def test_a_fetch_that_trickles_without_end_is_ended(
    repo: GitRepo, large: RemoteHead, make_mirror: Callable[..., Mirror]
) -> None:
    limits = GitLimits(egress=LOCAL, timeout=0.5)
    with git_daemon(repo.path.parent) as base, slow_line(urlsplit(base).port or 0, size=2500, pace=0.2) as port:
        mirror = make_mirror(Remote(f"git://127.0.0.1:{port}/repo.git"), limits=limits)
        with pytest.raises(GitError, match="12 times GIT_TIMEOUT") as caught:  # it would take half a minute
            mirror.fetch(large)
    assert caught.value.kind is ErrorKind.GIT_TIMEOUT
    assert not processes_with(f"{FETCH_MARK}={mirror.path}")
