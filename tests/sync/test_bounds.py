"""Runs of repositories that exceed a limit: the kind, the words, and what is left on the disk."""

from pathlib import Path
from typing import Any

import pytest

from syncsvc.git.mirror import bytes_of
from syncsvc.models import Repository, Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.job import mirror_of
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.suspects import Place
from syncsvc.types import RemoteHead
from tests.git.hostile import HostileServer, delta_bomb, endless_pack, endless_refs
from tests.git.servers import GitHttpServer
from tests.receiver import OK, Reply
from tests.sync.world import World


def test_a_repository_over_a_limit_fails_at_once_with_the_limit_s_name(
    world: World, settings: Any, tmp_path: Path
) -> None:
    settings.GIT_FULL_FETCH_MAX_BYTES = 1
    world.repo.commit({"a": b"1"})
    server = GitHttpServer(tmp_path)
    server.shallow = False
    try:
        Repository.objects.update(url=server.url("remote.git"))
        run = world.run()
    finally:
        server.close()
    assert (run.outcome, run.error_kind) == ("failed", "repository_too_large")
    assert "over the limit of 1 (GIT_FULL_FETCH_MAX_BYTES). Raise GIT_FULL_FETCH_MAX_BYTES, or" in run.error
    assert Repository.objects.get().error_kind == "repository_too_large"


@pytest.fixture
def bomb() -> HostileServer:
    """A remote with a file of 160 MB in a pack of some KB, which stays packed."""
    commit, pack = delta_bomb(160, others=100)
    return HostileServer(commit, lambda: [pack])


def test_a_file_that_git_cannot_hold_fails_the_run_and_the_others_arrive(
    world: World, settings: Any, bomb: HostileServer
) -> None:
    """It was fetched under a higher limit. The mirror is sound, and is not made anew."""
    with bomb.serving() as url:
        Repository.objects.update(url=url)
        mirror_of(Repository.objects.get()).fetch(RemoteHead("main", bomb.commit))
        before = (settings.MIRROR_DIR / str(world.repository.id) / "HEAD").stat().st_ino
        settings.GIT_MEMORY_BYTES = 64 << 20
        run = world.run()
    assert (run.outcome, run.error_kind, run.delivered, run.failed) == ("failed", "repository_too_large", 101, 1)
    assert "GIT_MEMORY_BYTES" in run.error
    assert (settings.MIRROR_DIR / str(world.repository.id) / "HEAD").stat().st_ino == before


@pytest.mark.parametrize("limit", ["GIT_MEMORY_BYTES", "MAX_REPOSITORY_BYTES", "MAX_REFS_BYTES"])
def test_a_hostile_remote_fails_its_run_for_good_and_leaves_no_mirror(
    world: World, settings: Any, bomb: HostileServer, limit: str
) -> None:
    # Whatever is met first is told: git also keeps refs and objects in memory.
    settings.GIT_MEMORY_BYTES = 64 << 20 if limit == "GIT_MEMORY_BYTES" else 1 << 30
    settings.MAX_REPOSITORY_BYTES, settings.MAX_REFS_BYTES = 8 << 20, 1 << 20
    if limit == "MAX_REPOSITORY_BYTES":
        bomb.pack = endless_pack
    if limit == "MAX_REFS_BYTES":
        bomb.refs = lambda: endless_refs(bomb.commit)
    with bomb.serving() as url:
        Repository.objects.update(url=url)
        run = world.run()
    assert (run.outcome, run.error_kind, run.requests) == ("failed", "repository_too_large", 0)
    assert limit in run.error
    assert Subscription.objects.get().retry_count == 0 or Subscription.objects.get().status == "failed"
    assert bytes_of(settings.MIRROR_DIR) <= 16384


def test_suspects_take_turns_and_others_pass_them(world: World) -> None:
    """One whose repository has exceeded a limit waits while another such run reads git; it is no failure of its."""
    world.repo.commit({"a": b"1"})
    other = Place()
    assert other.take()
    try:
        assert world.run().outcome == "synced", "it is none"
        Repository.objects.update(error_kind="repository_too_large")
        world.repo.commit({"a": b"2"})
        ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC, asked_by="a test")
        assert run_subscription(world.id, worker="test") is None
        row = world.subscription
        assert (row.status, row.error_kind, row.retry_count) == ("pending", "", 0)
        assert row.due_at is not None
    finally:
        other.leave()
    ended = world.run_when_due()
    assert ended is not None
    assert ended.outcome == "synced"
    assert other.take(), "its place is free again"
    other.leave()
    other.leave()


def test_the_place_of_a_suspect_is_free_while_it_delivers(world: World) -> None:
    world.repo.commit({"a": b"1"})
    Repository.objects.update(error_kind="repository_too_large")
    taken = []

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        other = Place()
        taken.append(other.take())
        other.leave()
        return OK

    world.receiver.answer = answer
    assert world.run().outcome == "synced"
    assert taken == [True]
