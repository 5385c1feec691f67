"""Plans on disk: mirrors give way to them, none fills the disk, and none is counted longer than it is there."""

from pathlib import Path
from typing import Any

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.eviction import sizes
from syncsvc.models import Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.disk import DISK
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.spool import GROUP, Spool
from syncsvc.sync.spool_room import ROOM
from syncsvc.types import Change, ChangeKind, ErrorKind
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.sync.world import World

FILES = {f"{n:04}": b"1" for n in range(3 * GROUP)}
KIB = 1024


@pytest.fixture(autouse=True)
def _no_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ROOM, "least", 0)


def take_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has plans leave the whole disk free: what little there is on it is too much."""
    monkeypatch.setattr(ROOM, "reserve", 1 << 62)
    monkeypatch.setattr(ROOM, "reserve_part", 1)


def fill(spool: Spool, groups: int) -> None:
    for number in range(groups * GROUP):
        spool.add(Change(ChangeKind.CREATED, b"%09d" % number, "100644", "ab" * 20, 1, None, None))


def test_a_plan_over_half_of_the_room_fails_its_run_before_anything_is_sent(world: World, settings: Any) -> None:
    settings.MIRROR_MAX_BYTES = 40 * KIB
    world.repo.commit(FILES)
    run = world.run()
    assert (run.outcome, run.error_kind, run.requests) == ("failed", "repository_too_large", 0)
    assert "(MIRROR_MAX_BYTES). Raise MIRROR_MAX_BYTES, or" in run.error
    assert "20,480 bytes" in run.error
    assert ROOM.taken == 0

    settings.MIRROR_MAX_BYTES = 10**9
    assert world.run().outcome == "synced"
    assert ROOM.taken == 0


def test_a_mirror_that_nobody_uses_gives_way_to_a_plan(
    world: World, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ROOM, "least", 10**9)
    world.repo.commit({"a": b"1"})
    world.run()
    idle = world.mirror_path
    assert idle.exists()
    repo = GitRepo(tmp_path / "other")
    repo.commit(FILES)
    other = SubscriptionFactory(app=world.app, repository=RepositoryFactory(url=str(repo.path)))
    world.id, world.repository = other.id, other.repository
    world.run()
    both = sum(sizes(Path(settings.MIRROR_DIR)).values())
    Subscription.objects.filter(id=other.id).update(clean_snapshot=None, epoch=2)

    settings.MIRROR_MAX_BYTES = both + 10 * KIB
    assert world.run().outcome == "synced"
    assert (idle.exists(), world.mirror_path.exists()) == (False, True)


def test_a_disk_with_hardly_any_space_left_is_not_filled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is in trouble, and the run is handed back; one that is large by itself is refused for good."""
    take_disk(monkeypatch)
    world.repo.commit(FILES)
    ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC, asked_by="a test")
    run = run_subscription(world.id, worker="test")
    assert run is not None
    assert (run.error_kind, run.requests) == ("worker_disk", 0)
    assert "hardly any space is left" in DISK.trouble
    assert (world.subscription.status, len(world.receiver.requests), ROOM.taken) == ("pending", 0, 0)

    monkeypatch.setattr(ROOM, "large", 1)
    run = world.run()
    assert (run.outcome, run.error_kind, len(world.ledger())) == ("failed", "repository_too_large", 0)
    assert "SPOOL_DIR" in run.error


def test_of_several_plans_the_largest_is_the_one_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ROOM, "large", 1)
    with Spool(str(tmp_path)) as large, Spool(str(tmp_path)) as small:
        fill(large, 3)
        take_disk(monkeypatch)
        with pytest.raises(GitError) as caught:
            fill(small, 1)
        assert caught.value.kind is ErrorKind.WORKER_DISK
    assert ROOM.taken == 0
    with Spool(str(tmp_path)) as alone, pytest.raises(GitError) as caught:
        fill(alone, 1)
    assert caught.value.kind is ErrorKind.REPOSITORY_TOO_LARGE
    assert ROOM.taken == 0
