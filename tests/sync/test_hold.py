"""A plan that deletes too much is held until somebody allows it."""

import shutil
from pathlib import Path

import pytest
from pytest_django import Settings

from syncsvc.models import Repository, Snapshot, Status, Subscription
from tests.gitrepo import Submodule
from tests.receiver import accept
from tests.sync.answers import always, refuses
from tests.sync.world import World, contents


def files(count: int) -> dict[str | bytes, bytes | None]:
    return {f"{n:03}": b"%d" % n for n in range(count)}


def without(*numbers: int) -> dict[str | bytes, bytes | None]:
    return {f"{n:03}": None for n in numbers}


def approve(world: World, commit: str, deletes: int) -> None:
    """What the console does."""
    Subscription.objects.filter(id=world.id).update(approved_commit=commit, approved_deletes=deletes)


def test_a_commit_that_deletes_over_half_is_held_and_nothing_is_sent(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    before = len(world.receiver.requests)
    commit = world.repo.commit(without(*range(21)) | {"new": b"1"})

    run = world.run()

    assert (run.outcome, run.error_kind, run.deleted, run.requests) == ("held", "mass_delete_held", 21, 0)
    assert [event["type"] for event in world.events(before)] == ["sync.failed"]
    subscription = world.subscription
    assert (subscription.status, subscription.due_at, subscription.error_kind) == ("failed", None, "mass_delete_held")
    for part in ("21 of 40", commit[:12], "manage.py sync acme/owner/repo --allow-deletes"):
        assert part in subscription.last_error
    assert set(world.ledger()) == {b"%03d" % n for n in range(40)}


@pytest.mark.parametrize(("had", "deleted", "outcome"), [(40, 20, "synced"), (20, 20, "synced"), (21, 11, "held")])
def test_half_is_not_over_half_and_a_small_ledger_is_never_held(
    world: World, had: int, deleted: int, outcome: str
) -> None:
    world.repo.commit(files(had))
    world.run()
    world.repo.commit(without(*range(deleted)))

    assert world.run().outcome == outcome


def test_what_is_too_much_is_a_setting(world: World, settings: Settings) -> None:
    settings.MASS_DELETE_PERCENT, settings.MASS_DELETE_MINIMUM = 10, 5
    world.repo.commit(files(10))
    world.run()
    world.repo.commit(without(1, 2))

    assert world.run().outcome == "held"


def test_an_emptied_tree_is_held_too_and_goes_out_once_it_is_allowed(world: World) -> None:
    world.repo.commit(files(30))
    world.run()
    world.repo.commit({}, replace_all=True)
    assert world.run().outcome == "held"

    run = world.run(allow_deletes=True)

    assert (run.outcome, run.deleted, run.delivered, run.deletes_allowed) == ("synced", 30, 30, True)
    assert (world.client().files, world.ledger()) == ({}, {})


def test_an_allowance_covers_the_run_it_was_given_to_and_no_later_one(world: World) -> None:
    world.repo.commit(files(60))
    world.run()
    world.repo.commit(without(*range(35)))
    assert world.run(allow_deletes=True).outcome == "synced"
    world.repo.commit(without(*range(35, 55)))

    assert world.run().outcome == "held"


def test_an_allowance_that_was_not_needed_is_not_kept(world: World) -> None:
    world.repo.commit(files(30))
    assert world.run(allow_deletes=True).outcome == "synced"
    world.repo.commit(without(*range(25)))

    assert world.run().outcome == "held"


def test_an_allowed_run_that_did_not_get_through_goes_on_with_the_same_commit(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    world.repo.commit(without(*range(30)))
    world.receiver.answer = always(429)
    assert world.run(allow_deletes=True).outcome == "postponed"
    assert world.run_when_due().outcome == "postponed"  # type: ignore[union-attr]
    world.receiver.answer = accept

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.deleted) == ("synced", 30)
    assert world.subscription.approved_commit == ""


def test_a_newer_commit_that_deletes_more_is_held_again(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    world.repo.commit(without(*range(30)))
    world.receiver.answer = always(429)
    world.run(allow_deletes=True)
    world.end_wait()
    world.receiver.answer = accept
    world.repo.commit(without(*range(30, 35)))

    run = world.run()

    assert (run.outcome, run.deleted) == ("held", 35)
    assert world.client().files.keys() >= set()
    assert len(world.ledger()) == 40


def test_a_newer_commit_that_deletes_no_more_is_covered(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    world.repo.commit(without(*range(30)))
    world.receiver.answer = always(429)
    world.run(allow_deletes=True)
    world.end_wait()
    world.receiver.answer = accept
    world.repo.commit({"000": b"back", "new": b"1"})

    run = world.run()

    assert (run.outcome, run.deleted) == ("synced", 29)
    assert world.client().files == contents(world.repo)


def test_an_approval_names_the_held_commit_and_is_used_once(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    commit = world.repo.commit(without(*range(30)))
    assert world.run().outcome == "held"
    approve(world, commit, 30)

    run = world.run()

    assert (run.outcome, run.deleted) == ("synced", 30)
    subscription = world.subscription
    assert (subscription.approved_commit, subscription.approved_deletes) == ("", 0)


def test_an_approval_outlives_a_remote_that_cannot_be_reached(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    commit = world.repo.commit(without(*range(30)))
    world.run()
    approve(world, commit, 30)
    Repository.objects.update(url="git://127.0.0.1:1/none")
    run = world.run()
    assert (run.outcome, run.error_kind) == ("postponed", "git_unreachable")
    Repository.objects.update(url=str(world.repo.path))

    assert world.run().outcome == "synced"


def test_an_approval_of_less_than_is_found_is_of_no_use_and_not_kept(world: World) -> None:
    world.repo.commit(files(40))
    world.run()
    commit = world.repo.commit(without(*range(25)))
    world.run()
    approve(world, commit, 25)
    world.repo.commit(without(*range(25, 30)))

    assert world.run().outcome == "held"
    assert world.subscription.approved_commit == ""


def test_a_held_subscription_looks_again_when_a_newer_commit_brings_the_files_back(world: World) -> None:
    before = world.repo.commit(files(40))
    world.run()
    world.repo.commit(without(*range(30)))
    world.run()
    world.repo.git("update-ref", "refs/heads/main", before)

    run = world.run()

    assert (run.outcome, run.requests, world.subscription.status) == ("synced", 0, Status.SYNCED)


def test_a_half_done_mass_delete_goes_on_where_it_was(world: World) -> None:
    world.repo.commit(files(60))
    world.run()
    world.repo.commit(without(*range(50)))
    world.receiver.answer = refuses("049")
    run = world.run(allow_deletes=True)
    assert (run.outcome, run.delivered, run.failed) == ("postponed", 49, 1)
    world.receiver.answer = accept

    run = world.run()

    assert (run.outcome, run.deleted) == ("synced", 1)


def test_a_deleted_branch_is_no_deletion_of_files(world: World) -> None:
    world.repo.commit(files(30))
    world.repo.commit(files(1), branch="other")
    Repository.objects.update(branch="main")
    world.run()
    world.repo.git("update-ref", "-d", "refs/heads/main")

    run = world.run(allow_deletes=True)

    assert (run.outcome, run.error_kind, run.requests) == ("failed", "git_not_found", 0)
    assert len(world.ledger()) == 30
    assert world.subscription.ledger_is_clean


def test_a_remote_that_lost_all_its_commits_is_no_deletion_of_files(world: World) -> None:
    world.repo.commit(files(30))
    world.run()
    world.repo.git("update-ref", "-d", "refs/heads/main")

    run = world.run(allow_deletes=True)

    assert (run.outcome, run.error_kind) == ("failed", "git_not_found")
    assert len(world.ledger()) == 30


def test_a_repository_that_is_gone_is_no_deletion_of_files(world: World) -> None:
    world.repo.commit(files(30))
    world.run()
    shutil.rmtree(world.repo.path)

    run = world.run(allow_deletes=True)

    assert (run.outcome, run.error_kind) == ("failed", "git_not_found")
    assert len(world.ledger()) == 30


def test_a_repository_without_a_commit_yet_is_synced_with_nothing(world: World) -> None:
    run = world.run()

    assert (run.outcome, run.to_commit, world.subscription.status) == ("synced", "", Status.SYNCED)


def test_a_force_push_to_another_history_sends_the_difference_of_the_trees(world: World) -> None:
    world.repo.commit({"same": b"1", "other": b"1", "gone": b"1"})
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({"same": b"1", "other": b"2", "new": b"1"}, orphan=True)

    world.run()

    assert world.told(before) == [("file.deleted", "gone"), ("file.created", "new"), ("file.updated", "other")]
    assert world.client().files == contents(world.repo)


def test_a_renamed_default_branch_is_followed_and_tells_nothing_new(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    world.repo.git("branch", "-m", "main", "trunk")
    world.repo.git("symbolic-ref", "HEAD", "refs/heads/trunk")

    run = world.run()

    assert (run.outcome, run.requests) == ("synced", 0)
    assert Repository.objects.get().head_branch == "trunk"


def test_submodules_and_paths_that_are_too_long_are_counted_and_left_out(world: World, tmp_path: Path) -> None:
    long_path = "d/" * 1_000 + "x"
    world.repo.commit({"a": b"1", "lib": Submodule("1" * 40), long_path: b"1", "p" * 200: b"2"})

    run = world.run()

    snapshot = Snapshot.objects.get()
    assert (run.created, snapshot.files, snapshot.submodules, snapshot.long_paths) == (2, 2, 1, 1)
    assert set(world.ledger()) == {b"a", b"p" * 200}


def test_a_file_that_becomes_a_submodule_is_deleted_and_comes_back_as_created(world: World) -> None:
    world.repo.commit({"lib": b"1", "a": b"1"})
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({"lib": Submodule("1" * 40)})
    world.run()
    world.repo.commit({"lib": b"1"})
    world.run()

    assert world.told(before) == [("file.deleted", "lib"), ("file.created", "lib")]
    assert [s.submodules for s in Snapshot.objects.all()] == [0, 1, 0]
