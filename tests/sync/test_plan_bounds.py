"""What a commit may cost: files and seconds are bounded in every way that its files are read and compared."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from syncsvc.exceptions import GitError, TooLargeError
from syncsvc.git.manifest import blob_sizes, read_difference, read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from syncsvc.models import Operation, Snapshot, Subscription, SyncRun
from syncsvc.operations.asker import Asker
from syncsvc.operations.stopping import stop
from syncsvc.sync.job import mirror_of
from syncsvc.sync.plan import make_plan
from syncsvc.sync.preview import _as_job, ask_for_preview, known_preview, make_preview
from syncsvc.sync.snapshots import take_in
from syncsvc.sync.spool import Spool
from syncsvc.sync.watch import WATCHER
from syncsvc.types import ErrorKind, RemoteHead
from tests.factories import AppFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.sync.test_malformed_trees import FILE, GOOD, MALFORMED, Entries, Trees
from tests.sync.world import World

DEEP = 10
ASKER = Asker(name="a test", source=Operation.Source.COMMAND)


def nested(repo: GitRepo, *, leaf: str = "") -> None:
    """Commits ten times ten nested folders of a few hundred bytes: 10^10 files, or folders that hold nothing."""
    tree = leaf or repo.mktree([("100644", repo.blob(b"x"), b"%d" % n) for n in range(10)])
    for _ in range(DEEP - 1):
        tree = repo.mktree([("040000", tree, b"%d" % n) for n in range(10)])
    repo.commit_tree(tree)


def of_files(repo: GitRepo) -> None:
    nested(repo)


def of_nothing(repo: GitRepo) -> None:
    nested(repo, leaf=repo.mktree([]))


def preview(world: World) -> tuple[str, str]:
    ask_for_preview(world.subscription)
    make_preview(world.id)
    found = known_preview(world.id)
    assert found is not None
    return found.state, found.error


def outcome(run: SyncRun) -> tuple[str, str]:
    return run.outcome, run.error_kind


BOMBS: list[tuple[Callable[[GitRepo], None], str]] = [(of_files, "MAX_FILES"), (of_nothing, "PLAN_SECONDS")]


@pytest.mark.parametrize("before", [False, True], ids=["first", "next"])
@pytest.mark.parametrize(("bomb", "limit"), BOMBS)
def test_a_bomb_of_folders_ends_as_too_large(
    world: World, settings: Any, bomb: Callable[[GitRepo], None], limit: str, before: bool
) -> None:
    """Read whole for the first run, as a difference for the next one, and in a preview."""
    settings.PLAN_SECONDS, settings.MAX_FILES = 1, 1_000
    if before:
        world.repo.commit({"a": b"1"})
        world.run()
    told, snapshots = len(world.receiver.requests), Snapshot.objects.count()
    bomb(world.repo)

    # git gives a difference when it has it whole.
    limit = "PLAN_SECONDS" if before else limit
    state, error = preview(world)
    assert (state, f"({limit}). Raise {limit}, or follow" in error) == ("failed", True), error
    run = world.run()
    assert outcome(run) == ("failed", "repository_too_large")
    assert f"({limit}). Raise {limit}, or follow" in run.error
    assert [event["type"] for event in world.events(told)] == ["sync.failed"]
    assert Snapshot.objects.count() == snapshots


def test_a_git_that_works_in_silence_is_ended_by_the_time_for_planning(tmp_path: Path) -> None:
    """And not as one that hangs, which would be tried again soon."""
    repo = GitRepo(tmp_path / "r.git")
    of_nothing(repo)
    mirror = Mirror(repo.path, Remote(repo.url), GitLimits(timeout=0.4, plan_seconds=2.5))
    with pytest.raises(TooLargeError, match="PLAN_SECONDS"), mirror.plan_time.running():
        list(read_manifest(mirror, repo.head))


def test_a_ledger_that_is_not_clean_is_compared_within_the_same_bounds(world: World, settings: Any) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    world.run()
    world.repo.commit({"5": b"1"})
    world.run()
    Subscription.objects.update(epoch=2)
    settings.MAX_FILES = 5

    assert outcome(world.run()) == ("failed", "repository_too_large")
    assert preview(world)[0] == "failed"
    settings.MAX_FILES = 6
    assert outcome(world.run()) == ("synced", "")
    assert preview(world)[0] == "ready"


@pytest.mark.parametrize("step", [1, 2])
def test_a_commit_that_grows_over_the_limit_is_too_large_by_its_difference(
    world: World, settings: Any, step: int
) -> None:
    settings.MAX_FILES = 10
    world.repo.commit({f"{n:02}": b"1" for n in range(10)})
    world.run()
    world.repo.commit({"00": None, **{f"{n:02}": b"1" for n in range(10, 11 + step)}})

    assert preview(world)[0] == "failed"
    run = world.run()
    assert outcome(run) == ("failed", "repository_too_large")
    assert "more than 10 files (MAX_FILES)" in run.error

    world.repo.commit({f"{n:02}": None for n in range(10 - step, 10)})
    assert outcome(world.run()) == ("synced", "")
    assert set(world.client().files) == set(world.repo.ls_tree())


def test_a_difference_that_git_has_no_memory_for_is_found_by_reading_the_files(world: World, settings: Any) -> None:
    """git holds a difference whole before it prints any of it, and the files of a commit one by one."""
    world.repo.commit({"a": b"1"})
    world.run()
    tree = world.repo.mktree([("100644", world.repo.blob(b"x"), b"%d" % n) for n in range(10)])
    for _ in range(3):
        tree = world.repo.mktree([("040000", tree, b"%d" % n + b"-" * 600) for n in range(10)])
    before, commit = world.repo.head, world.repo.commit_tree(tree)
    mirror_of(world.repository).fetch(RemoteHead("main", commit))
    settings.GIT_MEMORY_BYTES = 24 << 20
    mirror = mirror_of(world.repository)
    with mirror.reading(), Spool() as spool:
        with pytest.raises(TooLargeError, match="GIT_MEMORY_BYTES"):
            list(read_difference(mirror, before, commit))
        snapshot = take_in(world.repository, mirror, commit)
        plan = make_plan(_as_job(world.subscription), mirror, snapshot, spool)
    assert (snapshot.files, snapshot.created) == (10_000, None)
    assert (plan.created, plan.deletes) == (10_000, 1)


def test_all_files_may_be_replaced_at_the_limit(world: World, settings: Any) -> None:
    """Twice as many files differ as a commit may have, and their folders."""
    settings.MAX_FILES = 30
    world.repo.commit({f"a{n}/f": b"1" for n in range(30)})
    world.run()
    world.repo.commit({f"b{n}/f": b"1" for n in range(30)}, replace_all=True)

    assert outcome(world.run(allow_deletes=True)) == ("synced", "")
    assert set(world.client().files) == set(world.repo.ls_tree())


def test_a_commit_that_is_too_large_is_not_read_again_for_each_app(world: World, settings: Any) -> None:
    settings.MAX_FILES = 100
    of_files(world.repo)
    others = [SubscriptionFactory(app=AppFactory(), repository=world.repository).id for _ in range(3)]
    world.run()
    (world.mirror_path / "objects").rename(world.mirror_path / "away")

    for world.id in others:
        assert outcome(world.run()) == ("failed", "repository_too_large")


@pytest.mark.parametrize("before", [False, True], ids=["first", "next"])
def test_a_run_that_is_stopped_while_it_plans_ends(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.05)
    settings.MAX_FILES = 10**9
    if before:
        world.repo.commit({"a": b"1"})
        world.run()
    nested(world.repo) if before else of_nothing(world.repo)
    runs: list[SyncRun] = []

    def run() -> None:
        runs.append(world.run())
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: (world.mirror_path / "HEAD").exists() and SyncRun.objects.filter(outcome="").exists(), thread)
    stop(world.id, ASKER)
    thread.join(60)

    assert [run.outcome for run in runs] == ["stopped"]


def deep(trees: Trees) -> str:
    """Folders in folders, until git's stack is full or its own limit met."""
    return trees.repo.commit({"d/" * 20_000 + "f": b"1"}, branch="deep")


def long(trees: Trees) -> str:
    name = b"n" * (5 << 20)
    tree = trees.write("tree", b"100644 " + name + b"\0" + bytes.fromhex(trees.repo.blob(b"x")))
    return trees.repo.git("commit-tree", tree, "-m", "long").decode().strip()


@pytest.mark.parametrize(("make", "words"), [(deep, "nested too deep|tree depth"), (long, "a path of more than")])
def test_folders_too_deep_and_names_too_long_are_too_large(
    tmp_path: Path, make: Callable[[Trees], str], words: str
) -> None:
    trees = Trees(GitRepo(tmp_path / "r.git"))
    before = trees.repo.commit({"a": b"1"})
    commit = make(trees)
    # git lists deeper folders than it compares, by far: one way is enough to be slow.
    ways: list[Callable[[str], None]] = [partial(trees.as_the_next, before=before)]
    for plan in [*ways, *([] if make is deep else [trees.as_the_first])]:
        with pytest.raises(GitError, match=words) as caught:
            plan(commit)
        assert caught.value.kind is ErrorKind.REPOSITORY_TOO_LARGE


def until(condition: Callable[[], bool], thread: threading.Thread) -> None:
    while not condition():
        thread.join(0.05)
        assert thread.is_alive(), "the run ended before it was stopped"


# So many entries that the tree is read in pieces.
MANY: Entries = [(FILE, b"%06d-%s" % (n, b"-" * 200)) for n in range(6_000)]


SOME = ("a folder after what begins like it", "a file twice", "a file and a folder of one name, apart", "out of order")


@pytest.mark.parametrize("name", SOME)
def test_a_large_tree_is_checked_as_a_small_one(tmp_path: Path, name: str) -> None:
    trees = Trees(GitRepo(tmp_path / "r.git"))
    entries = MANY + (GOOD | MALFORMED)[name]
    commit = trees.commit(entries)

    def check() -> None:
        assert list(blob_sizes(trees.mirror, [], trees=[f"{commit}^{{tree}}"])) == []

    if name in GOOD:
        check()
        return
    with pytest.raises(GitError, match="twice or out of order") as caught:
        check()
    assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, True)
