"""Trouble with the worker's own disk has a kind and words of its own, whoever meets it: git or this program."""

import contextlib
import errno
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.disk import own_disk
from syncsvc.git.eviction import evict, fetch_with_room, make_room, sizes
from syncsvc.git.mirror import Mirror, bytes_of
from syncsvc.git.remote import Remote, SshCredential, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LIMITS
from tests.git.servers import GitHttpServer
from tests.gitrepo import GitRepo

NOISE = random.Random(10)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "MIRROR_MAX_BYTES"),
        (errno.EDQUOT, "MIRROR_MAX_BYTES"),
        (errno.EROFS, "writable"),
        (errno.EACCES, "writable"),
        (errno.EPERM, "writable"),
        (errno.EIO, "writable"),
        (errno.ENOTDIR, "writable"),
        (errno.ENOLCK, "file locks"),
        (errno.ENOTSUP, "file locks"),
    ],
)
def test_each_trouble_names_the_folder_and_what_to_do(number: int, advice: str) -> None:
    with pytest.raises(GitError, match=advice) as caught, own_disk(Path("/srv/mirrors")):
        raise OSError(number, os.strerror(number))
    assert caught.value.kind is ErrorKind.WORKER_DISK
    assert not caught.value.permanent
    assert "/srv/mirrors" in str(caught.value)
    assert os.strerror(number) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_the_workers_trouble(repo: GitRepo, tmp_path: Path) -> None:
    head = RemoteHead("main", repo.commit({"a": b"1"}))
    (tmp_path / "file").write_text("in the way")
    mirror = Mirror(tmp_path / "file" / "mirrors" / "m.git", Remote(repo.url), LIMITS)
    for attempt in (mirror.fetch, mirror.heal):
        with pytest.raises(GitError) as caught:
            attempt(head)
        assert caught.value.kind is ErrorKind.WORKER_DISK
    with pytest.raises(GitError) as caught, mirror.reading():
        pass
    assert caught.value.kind is ErrorKind.WORKER_DISK


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    if os.geteuid():
        assert "CI" not in os.environ, "CI must run as root: see .ci/run"
        pytest.skip("needs root to mount a small file system")
    with mounted(tmp_path / "mirrors", "-t", "tmpfs", "-o", "size=1m", "small"):
        yield tmp_path / "mirrors"


@pytest.mark.parametrize("files", [1, 200])
@pytest.mark.parametrize("protocol", ["file", "http"])
def test_a_full_disk_during_a_fetch(
    repo: GitRepo, http_server: GitHttpServer, small_disk: Path, protocol: str, files: int
) -> None:
    remote = Remote(repo.url if protocol == "file" else http_server.url("repo.git"))
    head = RemoteHead("main", repo.commit({f"f{n}": NOISE.randbytes(2_000_000 // files) for n in range(files)}))
    mirror = Mirror(small_disk / "m.git", remote, LIMITS)
    with pytest.raises(GitError, match="MIRROR_MAX_BYTES") as caught:
        mirror.fetch(head)
    assert caught.value.kind is ErrorKind.WORKER_DISK
    assert str(small_disk) in str(caught.value)
    small = repo.commit({"a": b"1"}, replace_all=True)
    assert mirror.fetch(RemoteHead("main", small)) == small  # nothing that failed takes its room


def test_a_full_disk_is_made_room_on_once(repo: GitRepo, small_disk: Path) -> None:
    heads = [RemoteHead("main", repo.commit({"a": NOISE.randbytes(350_000)})) for _ in range(3)]
    for number, head in enumerate(heads[:2]):
        repo.git("update-ref", "refs/heads/main", head.commit or "")
        fetch_with_room(Mirror(small_disk / f"{number}.git", Remote(repo.url), LIMITS), head, 10**9)
    repo.git("update-ref", "refs/heads/main", heads[2].commit or "")
    newest = Mirror(small_disk / "2.git", Remote(repo.url), LIMITS)
    assert fetch_with_room(newest, heads[2], 10**9) == heads[2].commit
    assert "0.git" not in sizes(small_disk)
    too_large = RemoteHead("main", repo.commit({"a": NOISE.randbytes(3_000_000)}))
    with pytest.raises(GitError) as caught:
        fetch_with_room(Mirror(small_disk / "3.git", Remote(repo.url), LIMITS), too_large, 10**9)
    assert caught.value.kind is ErrorKind.WORKER_DISK


def test_a_disk_that_became_read_only(repo: GitRepo, tmp_path: Path, small_disk: Path) -> None:
    mirror = Mirror(small_disk / "m.git", Remote(repo.url), LIMITS)
    first = RemoteHead("main", repo.commit({"a": b"1"}))
    mirror.fetch(first)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert mirror.fetch(first) == first.commit  # it is here
    for attempt in (mirror.fetch, mirror.heal):
        with pytest.raises(GitError, match="Read-only") as caught:
            attempt(RemoteHead("main", repo.commit({"a": b"2"})))
        assert caught.value.kind is ErrorKind.WORKER_DISK
    assert evict(small_disk, 0) == []


def test_a_folder_for_temporary_files_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    remote = Remote("git@git.example:a/b", credential=SshCredential("key", "host"))
    with pytest.raises(GitError, match="nowhere") as caught:
        remote_head(remote, LIMITS)
    assert caught.value.kind is ErrorKind.WORKER_DISK


class TestEviction:
    def test_the_growth_of_a_mirror_counts(self, repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
        mirror, other = make_mirror(), make_mirror(name="other.git")
        head = RemoteHead("main", repo.commit({"a": b"1"}))
        for each in (mirror, other):
            each.fetch(head)
        root = mirror.path.parent
        before = sum(sizes(root).values())
        assert evict(root, before) == []
        commit = repo.commit({"b": NOISE.randbytes(1_000_000)})
        assert fetch_with_room(mirror, RemoteHead("main", commit), before) == commit
        assert sizes(root)["m.git"] > 1_000_000
        with mirror.reading():
            assert evict(root, before) == ["other.git"]
        assert mirror.has_commit(commit)

    def test_others_make_room_before_a_fetch(self, repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
        head = RemoteHead("main", repo.commit({"a": NOISE.randbytes(500_000)}))
        for name in ("0.git", "1.git"):
            make_mirror(name=name).fetch(head)
        mirror = make_mirror(name="2.git")
        fetch_with_room(mirror, head, 600_000)
        assert sorted(sizes(mirror.path.parent)) == ["1.git", "2.git"]

    def test_what_a_mirror_takes_is_noted_by_its_last_writer(
        self, repo: GitRepo, make_mirror: Callable[..., Mirror]
    ) -> None:
        mirror = make_mirror()
        for number in range(3):
            commit = repo.commit({f"f{number}": NOISE.randbytes(100_000)})
            mirror.fetch(RemoteHead("main", commit))
            assert sizes(mirror.path.parent) == {"m.git": bytes_of(mirror.path)}
        mirror.maintain([commit])
        assert sizes(mirror.path.parent) == {"m.git": bytes_of(mirror.path)}

    def test_one_that_nobody_has_noted_is_measured(self, repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
        mirror = make_mirror()
        mirror.fetch(RemoteHead("main", repo.commit({"a": NOISE.randbytes(100_000)})))
        mirror.path.with_name("m.git.fetch").write_bytes(b"")
        assert sizes(mirror.path.parent) == {"m.git": bytes_of(mirror.path)}

    def test_the_sum_of_all_mirrors_is_kept_between_fetches(
        self, repo: GitRepo, make_mirror: Callable[..., Mirror]
    ) -> None:
        """A note that is wrong by a gigabyte counts when the mirrors are added up, and not before."""
        head = RemoteHead("main", repo.commit({"a": NOISE.randbytes(100_000)}))
        other, mirror = make_mirror(name="0.git"), make_mirror(name="1.git")
        other.fetch(head)
        fetch_with_room(mirror, head, 10_000_000)
        root = mirror.path.parent
        root.joinpath("0.git.fetch").write_bytes(b"1000000000\n")

        make_room(root, 10_000_000)
        assert len(sizes(root)) == 2
        evict(root, 10_000_000)
        assert list(sizes(root)) == ["1.git"]

    def test_fetches_of_this_process_are_added_to_the_sum(
        self, repo: GitRepo, make_mirror: Callable[..., Mirror]
    ) -> None:
        mirrors = [make_mirror(name=f"{number}.git") for number in range(3)]
        for mirror in mirrors:
            fetch_with_room(mirror, RemoteHead("main", repo.commit({"a": NOISE.randbytes(500_000)})), 1_200_000)
        make_room(mirrors[0].path.parent, 1_200_000)
        assert sorted(sizes(mirrors[0].path.parent)) == ["1.git", "2.git"]

    def test_a_folder_that_is_missing_holds_nothing(self, tmp_path: Path) -> None:
        assert evict(tmp_path / "nowhere", 0) == []
