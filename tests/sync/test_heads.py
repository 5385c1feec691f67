"""Where a branch stands is never put back to what somebody saw before somebody else looked."""

from syncsvc.models import Repository, Status, Subscription
from syncsvc.sync.heads import ask_remote, found
from syncsvc.types import RemoteHead
from tests.factories import SubscriptionFactory
from tests.sync.world import World


def test_a_finding_that_was_overtaken_moves_nothing_and_asks_for_no_run(world: World) -> None:
    older, newer = world.repo.commit({"a": b"1"}), world.repo.commit({"a": b"2"})
    slow = Repository.objects.get()
    assert found(Repository.objects.get(), RemoteHead("main", newer))
    Subscription.objects.update(status=Status.SYNCED, due_at=None)

    assert not found(slow, RemoteHead("main", older))

    assert Repository.objects.get().head_commit == newer
    assert world.subscription.status == Status.SYNCED


def test_whoever_is_overtaken_by_an_older_finding_looks_again_so_that_the_newer_one_stands(world: World) -> None:
    older, newer = world.repo.commit({"a": b"1"}), world.repo.commit({"a": b"2"})
    asking = Repository.objects.get()
    found(Repository.objects.get(), RemoteHead("main", older))
    other = SubscriptionFactory(repository=world.repository, synced=True)

    assert ask_remote(asking, but_not=world.subscription) == RemoteHead("main", newer)

    assert Repository.objects.get().head_commit == newer
    assert Subscription.objects.get(id=other.id).status == Status.PENDING


def test_two_who_find_the_same_agree(world: World) -> None:
    commit = world.repo.commit({"a": b"1"})
    asking = Repository.objects.get()
    ask_remote(Repository.objects.get())
    Subscription.objects.update(status=Status.SYNCED, due_at=None)

    assert ask_remote(asking) == RemoteHead("main", commit)

    assert world.subscription.status == Status.SYNCED
