"""A mirror takes a branch's newest commit, for one process or many at once, and drops what nobody needs."""

import dataclasses
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.eviction import evict
from syncsvc.git.manifest import read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import Remote, remote_head
from syncsvc.types import CommitInfo, ErrorKind, RemoteHead
from tests.git.conftest import LIMITS
from tests.git.mirrors import MakeMirror, contents, fetching_process, head_of
from tests.git.servers import GitHttpServer
from tests.gitrepo import GitRepo


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_missing_mirror_is_made_and_holds_the_commit(tmp_path: Path, object_format: str) -> None:
    repo = GitRepo(tmp_path / "r", object_format=object_format)
    commit = repo.commit({"a": b"1", "b/c": b""})
    mirror = Mirror(tmp_path / "m" / "x.git", Remote(repo.url), LIMITS)
    assert not mirror.has_commit(commit)
    assert mirror.fetch(head_of(repo)) == commit
    assert mirror.has_commit(commit)
    assert mirror.commit_info(commit) == CommitInfo(commit, repo.rev(f"{commit}^{{tree}}"))
    assert contents(mirror, commit) == repo.files()
    assert sorted(os.listdir(tmp_path / "m")) == ["x.git", "x.git.fetch", "x.git.lock"]


def test_no_other_user_of_the_machine_can_read_a_mirror(repo: GitRepo, make_mirror: MakeMirror) -> None:
    repo.commit({"private": b"key\n"})
    mirror = make_mirror()
    mirror.fetch(head_of(repo))
    assert mirror.path.stat().st_mode & 0o777 == 0o700


def test_only_the_newest_commit_is_taken(repo: GitRepo, make_mirror: MakeMirror) -> None:
    first = repo.commit({"a": b"1"})
    head = RemoteHead("main", repo.commit({"a": b"2"}))
    mirror = make_mirror()
    newest = repo.commit({"a": b"3"})  # pushed after the remote was asked
    assert mirror.fetch(head) == newest
    assert not mirror.has_commit(first)
    assert mirror.run("rev-list", "--count", newest).strip() == b"1"


def test_a_commit_that_is_here_costs_no_process_and_no_network(repo: GitRepo, make_mirror: MakeMirror) -> None:
    commit = repo.commit({"a": b"1"})
    mirror = make_mirror()
    mirror.fetch(head_of(repo))
    shutil.rmtree(repo.path)
    before = os.times()
    assert mirror.fetch(RemoteHead("main", commit)) == commit
    assert os.times().children_user == before.children_user


def test_a_repository_without_commits_is_told(repo: GitRepo, make_mirror: MakeMirror) -> None:
    with pytest.raises(GitError, match="no commits yet") as caught:
        make_mirror().fetch(head_of(repo))
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


def test_one_changed_file_of_two_thousand_is_all_that_travels(
    repo: GitRepo, http_server: GitHttpServer, make_mirror: MakeMirror
) -> None:
    noise = random.Random(1)
    repo.commit({f"d{i % 50}/f{i}": noise.randbytes(1000) for i in range(2000)})
    mirror = make_mirror(Remote(http_server.url("repo.git")))
    mirror.fetch(head_of(repo))
    assert http_server.bytes_sent > 2_000_000
    http_server.bytes_sent = 0
    commit = repo.commit({"d7/f7": b"new"})
    assert mirror.fetch(head_of(repo)) == commit
    assert http_server.bytes_sent < 10_000
    objects = dict(line.split(": ") for line in mirror.run("count-objects", "-v").decode().splitlines())
    assert int(objects["count"]) == 4  # commit, two trees, one blob
    assert contents(mirror, commit) == repo.files()


def test_unrelated_history_after_a_force_push(repo: GitRepo, make_mirror: MakeMirror) -> None:
    first = repo.commit({"a": b"1", "b": b"2"})
    mirror = make_mirror()
    mirror.fetch(head_of(repo))
    second = repo.commit({"c": b"3"}, orphan=True)
    assert mirror.fetch(head_of(repo)) == second
    assert contents(mirror, second) == repo.files()
    assert mirror.has_commit(first)


def test_an_emptied_tree_is_a_commit_like_any_other(repo: GitRepo, make_mirror: MakeMirror) -> None:
    repo.commit({"a": b"1"})
    mirror = make_mirror()
    mirror.fetch(head_of(repo))
    empty = repo.commit({}, replace_all=True)
    assert mirror.fetch(head_of(repo)) == empty
    assert list(read_manifest(mirror, empty)) == []


def test_a_branch_deleted_between_asking_and_fetching(repo: GitRepo, make_mirror: MakeMirror) -> None:
    repo.commit({"a": b"1"})
    head = RemoteHead("gone", repo.commit({"a": b"2"}, branch="gone"))
    repo.git("update-ref", "-d", "refs/heads/gone")
    with pytest.raises(GitError, match="no longer on the remote") as caught:
        make_mirror().fetch(head)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND


def test_a_shallow_remote_can_be_mirrored(tmp_path: Path, repo: GitRepo, make_mirror: MakeMirror) -> None:
    for i in range(3):
        commit = repo.commit({"a": b"%d" % i})
    shallow = tmp_path / "shallow"
    repo.git("clone", "-q", "--bare", "--depth=1", repo.url, str(shallow))
    remote = Remote(str(shallow))
    mirror = make_mirror(remote)
    assert mirror.fetch(remote_head(remote, LIMITS)) == commit
    repo.commit({"b": b"4"})
    commit = repo.commit({"b": b"5"})
    repo.git("--git-dir", str(shallow), "fetch", "-q", "--depth=1", repo.url, "+main:main")
    assert mirror.fetch(remote_head(remote, LIMITS)) == commit


def test_a_remote_made_anew_with_another_hash_replaces_the_mirror(
    tmp_path: Path, repo: GitRepo, make_mirror: MakeMirror
) -> None:
    repo.commit({"a": b"1"})
    mirror = make_mirror()
    mirror.fetch(head_of(repo))
    shutil.rmtree(repo.path)
    repo = GitRepo(repo.path, object_format="sha256")
    commit = repo.commit({"a": b"1"})
    assert mirror.fetch(head_of(repo)) == commit
    assert contents(mirror, commit) == repo.files()


def test_errors_name_no_path_of_this_machine(tmp_path: Path, repo: GitRepo, make_mirror: MakeMirror) -> None:
    repo.commit({"a": b"1"})
    mirror = make_mirror()
    mirror.fetch(head_of(repo))
    with pytest.raises(GitError) as caught:
        mirror.commit_info("1" * 40)
    shutil.rmtree(mirror.path)
    with pytest.raises(GitError) as gone:
        mirror.commit_info("1" * 40)
    assert gone.value.kind is ErrorKind.GIT_CORRUPT
    for error in (caught.value, gone.value):
        assert str(mirror.path.parent) not in str(error)
        assert len(str(error)) <= 500


class TestSharing:
    def test_threads_and_processes_that_want_the_same_commit_fetch_it_once(
        self, repo: GitRepo, http_server: GitHttpServer, make_mirror: MakeMirror
    ) -> None:
        commit = repo.commit({f"f{i}": b"%d" % i for i in range(200)})
        url = http_server.url("repo.git")
        head = head_of(repo)
        http_server.delay = 0.05
        processes = [fetching_process(make_mirror(), url) for _ in range(3)]
        with ThreadPoolExecutor(6) as pool:
            fetched = list(pool.map(lambda _: make_mirror(Remote(url)).fetch(head, wait=30), range(6)))
        fetched += [process.communicate()[0].decode().strip() for process in processes]
        assert fetched == [commit] * 9
        assert http_server.discoveries == 1 + len(processes)  # each process also asks where the branch stands

    def test_a_run_that_would_wait_for_anothers_fetch_is_told_so(
        self, repo: GitRepo, http_server: GitHttpServer, make_mirror: MakeMirror
    ) -> None:
        repo.commit({"a": b"1"})
        url = http_server.url("repo.git")
        head = head_of(repo)
        http_server.stall.set()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(make_mirror(Remote(url)).fetch, head)
            assert http_server.stalled.wait(10)
            started = time.monotonic()
            with pytest.raises(MirrorBusyError):
                make_mirror(Remote(url)).fetch(head, wait=0.2)
            assert 0.2 <= time.monotonic() - started < 10
            http_server.stall.clear()
            with pytest.raises(GitError):  # its answer was cut off
                running.result()

    def test_fetching_goes_on_beside_readers(self, repo: GitRepo, make_mirror: MakeMirror) -> None:
        first = repo.commit({"a": b"1"})
        mirror = make_mirror()
        mirror.fetch(head_of(repo))
        old = repo.files()
        second = repo.commit({"a": b"2"})
        with mirror.reading():
            assert make_mirror().fetch(head_of(repo)) == second
        assert contents(mirror, first) == old


class TestMaintenance:
    def test_commits_that_nobody_needs_are_forgotten_and_their_space_is_freed(
        self, repo: GitRepo, make_mirror: MakeMirror
    ) -> None:
        mirror = make_mirror()
        noise = random.Random(5)
        commits = []
        for i in range(4):
            commits.append(repo.commit({"big": noise.randbytes(200_000), f"f{i}": b"x"}))
            mirror.fetch(head_of(repo))
        keep = [commits[1], commits[3]]
        assert mirror.maintain(keep)
        assert [mirror.has_commit(commit) for commit in commits] == [False, True, False, True]
        assert sum(file.stat().st_size for file in mirror.path.rglob("*") if file.is_file()) < 450_000
        for commit in keep:
            assert contents(mirror, commit) == repo.files(commit)
        newest = repo.commit({"a": b"2"})
        assert mirror.fetch(head_of(repo)) == newest
        assert contents(mirror, newest) == repo.files()

    def test_a_mirror_in_use_is_left_alone(self, repo: GitRepo, make_mirror: MakeMirror) -> None:
        commit = repo.commit({"a": b"1"})
        mirror = make_mirror()
        mirror.fetch(head_of(repo))
        with mirror.reading():
            assert not make_mirror().maintain([])
        assert mirror.has_commit(commit)
        assert not make_mirror(name="missing.git").maintain([])

    def test_the_least_recently_used_mirrors_go_first_and_none_in_use(
        self, repo: GitRepo, make_mirror: MakeMirror, tmp_path: Path
    ) -> None:
        repo.commit({"a": random.Random(6).randbytes(1_000_000)})
        mirrors = [make_mirror(name=f"{i}.git") for i in range(4)]
        for mirror in mirrors:
            mirror.fetch(head_of(repo))
            with mirror.reading():
                time.sleep(0.01)
        with mirrors[1].reading():
            pass
        root = tmp_path / "mirrors"
        assert evict(root, 10_000_000) == []
        with mirrors[0].reading():
            assert evict(root, 3_700_000) == ["2.git"]
            assert evict(root, 0) == ["3.git", "1.git"]
        assert mirrors[0].has_commit(repo.head)
        assert not mirrors[1].has_commit(repo.head)
        assert mirrors[1].fetch(head_of(repo)) == repo.head


@pytest.mark.parametrize("nice", [0, 7])
def test_git_lets_others_go_first_where_it_is_told_to(repo: GitRepo, make_mirror: MakeMirror, nice: int) -> None:
    repo.commit({"a": b"1"})
    mirror = make_mirror(limits=dataclasses.replace(LIMITS, nice=nice))
    mirror.fetch(head_of(repo))

    with mirror.start("cat-file", "--batch", talks=True) as waiting:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, waiting._process.pid) == max(own, nice)
