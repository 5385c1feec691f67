"""A damaged mirror is a cache that is made anew: it never looks like deleted files."""

import shutil
from pathlib import Path

import pytest
from django.conf import settings as configured

from syncsvc.git.locks import locked
from syncsvc.models import Status, Subscription, SyncRun, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from tests.factories import AppFactory, SubscriptionFactory
from tests.receiver import accept
from tests.sync.answers import always
from tests.sync.world import World, contents


def mirror(world: World) -> Path:
    return Path(configured.MIRROR_DIR) / str(world.repository.id)


@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_or_missing_blob_fails_its_file_only_and_the_next_run_delivers_it(
    world: World, missing: bool
) -> None:
    world.repo.commit({"start": b"0"})
    world.run()
    world.repo.commit({f"{n}": b"%d" % n for n in range(10)})
    world.receiver.answer = always(429)
    world.run()
    world.receiver.answer = accept
    if missing:
        world.mirrored(b"7").unlink()
    else:
        world.damage(b"7")
    before = len(world.receiver.requests)

    run = world.run_when_due()

    assert run is not None
    if run.outcome == "postponed":  # sizes could be read, so that the plan was made before the damage showed
        assert (run.error_kind, run.delivered, run.failed) == ("git_corrupt", 9, 1)
        assert "7" not in [path for _, path in world.told(before)]
        again = world.run_when_due()
        assert again is not None
        run = again
    assert run.outcome == "synced"
    assert {kind for kind, _ in world.told(before)} == {"file.created"}
    assert world.client().files == contents(world.repo)


def test_a_damaged_tree_is_no_deletion_and_heals_before_anything_is_sent(world: World) -> None:
    world.repo.commit({f"dir/{n}": b"%d" % n for n in range(30)})
    world.run()
    Subscription.objects.update(clean_snapshot=None)
    tree = world.repo.rev("HEAD:dir")
    (mirror(world) / "objects" / tree[:2] / tree[2:]).unlink()

    run = world.run()

    assert (run.outcome, run.requests, run.deleted) == ("synced", 0, 0)
    assert len(world.ledger()) == 30


def test_a_mirror_that_is_gone_is_cloned_and_the_ledger_tells_what_is_new(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.run()
    shutil.rmtree(mirror(world))
    world.repo.commit({"b": b"2"})
    before = len(world.receiver.requests)

    world.run()

    assert world.told(before) == [("file.updated", "b")]


def test_a_run_that_finds_the_mirror_being_fetched_hands_its_lease_back_until_the_fetch_ends(world: World) -> None:
    world.repo.commit({"a": b"1"})
    other = SubscriptionFactory(app=AppFactory(url=world.receiver.url), repository=world.repository)
    ask_for_runs(Subscription.objects.filter(id=other.id), Trigger.SYNC, asked_by="mary")
    with locked(mirror(world).with_name(f"{mirror(world).name}.fetch")):
        assert run_subscription(other.id, worker="test") is None
    other.refresh_from_db()
    assert (other.status, other.awaits_fetch, other.retry_count) == (Status.PENDING, True, 0)
    assert (other.trigger, other.asked_by) == ("sync", "mary")
    assert not SyncRun.objects.exists()
    assert run_subscription(other.id, worker="test") is None  # not due yet

    world.run()

    ended = run_subscription(other.id, worker="test")
    assert ended is not None
    assert (ended.outcome, ended.trigger, ended.asked_by) == ("synced", "sync", "mary")


def test_many_commits_do_not_pile_up_in_the_mirror_and_those_that_a_ledger_is_clean_at_stay(world: World) -> None:
    old = world.repo.commit({"a": b"1"})
    world.run()
    behind = SubscriptionFactory(app=AppFactory(url=world.receiver.url), repository=world.repository)
    Subscription.objects.filter(id=behind.id).update(clean_snapshot=world.subscription.clean_snapshot, clean_epoch=1)
    pins = mirror(world) / "refs/syncsvc/commits"
    for n in range(51):
        (pins / f"{n:040x}").write_text(old)
    commit = world.repo.commit({"a": b"2"})

    world.run()

    assert {pin.name for pin in pins.iterdir()} == {old, commit}
