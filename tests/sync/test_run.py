"""A run from the claim to its end, on real git, HTTP and PostgreSQL."""

from syncsvc.models import DeliveryAttempt, Snapshot, Status
from tests.gitrepo import Executable, Symlink
from tests.sync.world import World, contents


def test_a_first_run_delivers_every_file_and_the_ledger_says_so(world: World) -> None:
    commit = world.repo.commit(
        {"a.txt": b"one", "dir/b": Executable(b"#!"), "link": Symlink(b"a.txt"), b"\xff": b"\x00\xff"}
    )

    run = world.run()

    assert (run.outcome, run.to_commit, run.created, run.delivered, run.failed) == ("synced", commit, 4, 4, 0)
    assert world.client().files == contents(world.repo)
    assert {path: (row.mode, row.in_doubt) for path, row in world.ledger().items()} == {
        path: (mode, False) for path, (mode, _) in contents(world.repo).items()
    }
    assert world.subscription.status == Status.SYNCED
    assert world.subscription.ledger_is_clean
    assert DeliveryAttempt.objects.filter(run=run, status=204, error_kind="").count() == 4
    assert Snapshot.objects.get().files == 4


def test_a_commit_sends_exactly_its_changes_deleted_then_created_then_updated(world: World) -> None:
    world.repo.commit({"keep": b"1", "change": b"1", "mode": b"1", "move": b"m", "drop": b"d"})
    world.run()
    before = len(world.receiver.requests)

    world.repo.commit({"change": b"2", "mode": Executable(b"1"), "move": None, "moved": b"m", "drop": None})
    run = world.run()

    told = world.told(before)
    order = ["file.deleted", "file.created", "file.updated"]
    assert told == sorted(told, key=lambda event: order.index(event[0]))
    assert set(told) == {
        ("file.deleted", "drop"),
        ("file.deleted", "move"),
        ("file.created", "moved"),
        ("file.updated", "change"),
        ("file.updated", "mode"),
    }
    assert (run.deleted, run.created, run.updated) == (2, 1, 2)
    assert world.client().files == contents(world.repo)
    snapshot = Snapshot.objects.first()
    assert snapshot is not None
    assert (snapshot.deleted, snapshot.created, snapshot.updated, snapshot.files) == (2, 1, 2, 4)


def test_a_run_without_a_change_sends_nothing_and_is_recorded(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()

    run = world.run()

    assert (run.outcome, run.requests) == ("synced", 0)
    assert len(world.receiver.requests) == 1


def test_a_remote_without_a_commit_is_waited_for_and_then_sent(world: World) -> None:
    run = world.run()
    assert (run.outcome, run.found_no_commit, run.requests) == ("synced", True, 0)
    assert (world.subscription.status, world.subscription.awaits_first_commit) == (Status.SYNCED, True)
    world.repo.commit({"a": b"1"})
    assert not world.run().found_no_commit
    assert not world.subscription.awaits_first_commit
    world.repo.commit({}, replace_all=True)
    world.run()
    assert not world.subscription.awaits_first_commit, "a commit without files is a commit"
