"""Where a branch stands is never put back to what somebody saw before somebody else looked."""

import threading
import time
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from syncsvc.exceptions import GitError
from syncsvc.models import Operation, Repository, Status, Subscription, Trigger
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.repositories import poll_afresh
from syncsvc.operations.scope import Scope
from syncsvc.store.repository_circuits import count_failure
from syncsvc.sync.heads import ask_remote, found, head_for
from syncsvc.sync.job import Job
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.remote_circuits import remote_circuit_policy
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


def retried_in_bulk(world: World, count: int = 2) -> list[Job]:
    """Claimed runs for an operation over subscriptions of one repository."""
    for _ in range(count - 1):
        SubscriptionFactory(repository=world.repository)
    Subscription.objects.update(status=Status.FAILED, due_at=None)
    bulk.start(Scope(kind=Operation.Kind.RETRY), Asker(name="a test", source=Operation.Source.COMMAND))
    return [claim_next() for _ in range(count - 1)]


def claim_next() -> Job:
    job = Job.claim_next_released(worker="test")
    assert job is not None
    return job


def test_of_the_items_of_an_operation_one_asks_the_remote_and_its_failure_is_everyones_and_counts_once(
    world: World, tmp_path: Path
) -> None:
    Repository.objects.update(url=str(tmp_path / "nowhere.git"))
    jobs = [*retried_in_bulk(world), claim_next()]
    errors = []
    for job in jobs:
        with pytest.raises(GitError) as caught:
            head_for(job)
        errors.append(caught.value)

    assert len({(error.kind, str(error)) for error in errors}) == 1
    assert errors[0] is not errors[1]  # each has the traceback of its own run only
    assert Repository.objects.get().failure_streak == 1


def test_an_operations_items_do_not_go_by_what_was_asked_of_the_remote_before_its_url_was_corrected(
    world: World, tmp_path: Path
) -> None:
    commit = world.repo.commit({"a": b"1"})
    Repository.objects.update(url=str(tmp_path / "nowhere.git"))
    (early,) = retried_in_bulk(world)
    with pytest.raises(GitError):
        head_for(early)

    Repository.objects.update(url=str(world.repo.path))
    poll_afresh(world.repository)

    assert head_for(claim_next()) == RemoteHead("main", commit)


def test_an_operations_items_do_not_go_by_where_another_branch_stood(world: World) -> None:
    world.repo.commit({"a": b"1"})
    (early,) = retried_in_bulk(world)
    assert head_for(early).branch == "main"
    other = world.repo.commit({"a": b"2"}, branch="other")

    Repository.objects.update(branch="other")
    poll_afresh(world.repository)

    assert head_for(claim_next()) == RemoteHead("other", other)


def test_an_operations_items_do_not_go_back_behind_what_a_poll_has_found_since_one_of_them_asked(world: World) -> None:
    world.repo.commit({"a": b"1"})
    (early,) = retried_in_bulk(world)
    head_for(early)
    newer = world.repo.commit({"a": b"2"})
    ask_remote(Repository.objects.get())
    count_failure(
        world.repository.id, kind="git_timeout", error="The remote was slow, once.", policy=remote_circuit_policy()
    )

    assert head_for(claim_next()) == RemoteHead("main", newer)


def test_a_claim_that_waited_for_a_poll_s_finding_does_not_miss_it(world: World) -> None:
    """The claim's statement began before the poll's transaction ended: it sees the repository as it had been."""
    older = world.repo.commit({"a": b"1"})
    world.run()
    ask_remote(repository := Repository.objects.get())
    newer = world.repo.commit({"a": b"2"})
    Subscription.objects.update(status=Status.PENDING, due_at=Now(), trigger=Trigger.POLL)
    Repository.objects.update(checked_at=Now())
    commits: list[str] = []

    def work() -> None:
        run = run_subscription(world.id, worker="test")
        commits.append(run.to_commit if run else "")
        connection.close()

    claiming = threading.Thread(target=work)
    with transaction.atomic():
        assert found(repository, RemoteHead("main", newer))
        claiming.start()
        time.sleep(0.5)
    claiming.join(20)

    assert commits == [older], "the race that this is about"
    assert world.subscription.status == Status.PENDING
    assert world.run().to_commit == newer
    assert world.subscription.status == Status.SYNCED
