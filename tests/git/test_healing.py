"""Mirrors that were damaged, half made or left by a killed process heal themselves."""

import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.leftovers import FETCH_MARK
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LOCAL
from tests.git.mirrors import MakeMirror, contents, fetching_process, head_of
from tests.git.servers import GitHttpServer, processes_with, silent_server
from tests.gitrepo import GitRepo


class TestHealing:
    def damaged_mirror(self, repo: GitRepo, make_mirror: MakeMirror) -> Mirror:
        noise = random.Random(2)
        repo.commit({f"f{i}": noise.randbytes(300) for i in range(150)})
        mirror = make_mirror()
        mirror.fetch(head_of(repo))
        return mirror

    @pytest.mark.parametrize(
        "wreck",
        [
            lambda path: shutil.rmtree(path / "objects"),
            lambda path: shutil.rmtree(path / "refs"),
            lambda path: (path / "HEAD").unlink(),
            lambda path: (path / "HEAD").write_bytes(b"\0\0\0"),
            lambda path: (path / "config").write_bytes(b"[broken"),
            lambda path: (path / "shallow").write_bytes(b"nonsense"),
            lambda path: next(path.glob("objects/pack/*.pack")).unlink(),
            lambda path: next(path.glob("objects/pack/*.idx")).unlink(),
            lambda path: _overwrite(next(path.glob("objects/pack/*.pack"))),
            lambda path: _overwrite(next(path.glob("objects/pack/*.idx"))),
            lambda path: next(path.glob("refs/syncsvc/commits/*")).write_bytes(b""),
            lambda path: next(path.glob("refs/syncsvc/commits/*")).write_text("1" * 40 + "\n"),
            lambda path: shutil.rmtree(path),
        ],
        ids=[
            "objects",
            "refs",
            "head",
            "bad head",
            "config",
            "shallow",
            "pack",
            "idx",
            "bad pack",
            "bad idx",
            "pin",
            "bad pin",
            "all",
        ],
    )
    def test_a_wrecked_mirror_takes_in_the_next_commit_all_the_same(
        self, repo: GitRepo, make_mirror: MakeMirror, wreck: Callable[[Path], object]
    ) -> None:
        mirror = self.damaged_mirror(repo, make_mirror)
        wreck(mirror.path)
        commit = repo.commit({"new": b"1"})
        head = head_of(repo)
        assert mirror.fetch(head) == commit
        if _is_damaged(mirror, commit):  # what fetching could not notice, reading does, and heals
            assert mirror.heal(head) == commit
        assert contents(mirror, commit) == repo.files()

    def test_a_blob_that_went_missing_is_noticed_while_reading_and_healed(
        self, repo: GitRepo, make_mirror: MakeMirror
    ) -> None:
        commit = repo.commit({"a": b"1", "b": b"2"})
        mirror = make_mirror()
        mirror.fetch(head_of(repo))
        blob = repo.ls_tree()[b"b"].sha
        (mirror.path / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(GitError) as caught:
            contents(mirror, commit)
        assert caught.value.kind is ErrorKind.GIT_CORRUPT
        assert mirror.heal(head_of(repo)) == commit
        assert contents(mirror, commit) == repo.files()

    def test_healing_twice_rebuilds_once(
        self, repo: GitRepo, http_server: GitHttpServer, make_mirror: MakeMirror
    ) -> None:
        repo.commit({"a": b"1"})
        remote = Remote(http_server.url("repo.git"))
        first, second = make_mirror(remote), make_mirror(remote)
        first.fetch(head_of(repo))
        for mirror in (first, second):
            with mirror.reading():
                pass
        http_server.discoveries = 0
        assert first.heal(head_of(repo)) == second.heal(head_of(repo))
        assert http_server.discoveries == 1

    def test_a_mirror_that_is_read_is_not_replaced(self, repo: GitRepo, make_mirror: MakeMirror) -> None:
        repo.commit({"a": b"1"})
        mirror = make_mirror()
        mirror.fetch(head_of(repo))
        with mirror.reading(), pytest.raises(MirrorBusyError):
            mirror.heal(head_of(repo), wait=0.1)
        assert list(mirror.path.parent.glob("*.new-*")) == []

    def test_lock_files_of_a_killed_git_are_removed(self, repo: GitRepo, make_mirror: MakeMirror) -> None:
        repo.commit({"a": b"1"})
        mirror = make_mirror()
        mirror.fetch(head_of(repo))
        leftovers = ["shallow.lock", "packed-refs.lock", "config.lock", "refs/syncsvc/fetched.lock", "HEAD.lock"]
        leftovers += ["objects/pack/tmp_pack_x", "objects/aa/tmp_obj_x"]
        (mirror.path / "objects/aa").mkdir(exist_ok=True)
        for name in leftovers:
            (mirror.path / name).write_bytes(b"")
        mirror.path.with_name("m.git.new-1234").mkdir()
        mirror.path.with_name("m.git.fetch").write_bytes(b"writing\n")
        commit = repo.commit({"a": b"2"})
        assert mirror.fetch(head_of(repo)) == commit
        assert not [name for name in leftovers if (mirror.path / name).exists()]
        assert not mirror.path.with_name("m.git.new-1234").exists()

    @pytest.mark.parametrize("first", [True, False])
    def test_a_worker_killed_while_fetching_leaves_nothing_in_the_way(
        self, repo: GitRepo, http_server: GitHttpServer, make_mirror: MakeMirror, first: bool
    ) -> None:
        noise = random.Random(3)
        url = http_server.url("repo.git")
        mirror = make_mirror(Remote(url))
        repo.commit({"a": b"1"})
        if not first:
            mirror.fetch(head_of(repo))
        commit = repo.commit({f"f{i}": noise.randbytes(2000) for i in range(500)})
        http_server.stall.set()
        worker = fetching_process(mirror, url)
        assert http_server.stalled.wait(20)
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        assert processes_with(f"{FETCH_MARK}={mirror.path}")  # the worker's git outlives it
        http_server.stall.clear()
        http_server.stall = threading.Event()
        assert mirror.fetch(head_of(repo)) == commit
        assert not processes_with(f"{FETCH_MARK}={mirror.path}")
        assert contents(mirror, commit) == repo.files()
        assert not list(mirror.path.parent.glob("*.new-*"))
        assert not list(mirror.path.rglob("tmp_*"))

    def test_workers_killed_at_random_points(self, repo: GitRepo, make_mirror: MakeMirror) -> None:
        noise = random.Random(4)
        mirror = make_mirror()
        for _ in range(6):
            repo.commit({f"f{noise.randrange(400)}": noise.randbytes(20_000) for _ in range(200)})
            worker = fetching_process(mirror, repo.url)
            time.sleep(noise.uniform(0.15, 0.45))
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
            commit = mirror.fetch(head_of(repo), wait=10)
            assert commit == repo.head
            assert contents(mirror, commit) == repo.files()

    def test_a_fetch_that_hangs_is_ended_and_the_next_one_works(self, repo: GitRepo, make_mirror: MakeMirror) -> None:
        commit = repo.commit({"a": b"1"})
        with silent_server() as port:
            hanging = make_mirror(Remote(f"http://127.0.0.1:{port}/a"), limits=GitLimits(egress=LOCAL, timeout=0.5))
            with pytest.raises(GitError) as caught:
                hanging.fetch(RemoteHead("main", commit))
            assert caught.value.kind is ErrorKind.GIT_TIMEOUT
            assert not processes_with(f"{FETCH_MARK}={hanging.path}")
        assert make_mirror().fetch(head_of(repo)) == commit


def _is_damaged(mirror: Mirror, commit: str) -> bool:
    try:
        contents(mirror, commit)
    except GitError as error:
        return error.kind is ErrorKind.GIT_CORRUPT
    return False


def _overwrite(file: Path) -> None:
    file.chmod(0o600)
    data = bytearray(file.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 64] = b"\xff" * 64
    file.write_bytes(data)
