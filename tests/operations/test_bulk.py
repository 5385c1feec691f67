"""Bulk operations on real rows, git and HTTP; a loop stands for the workers."""

import uuid

import pytest

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem, Status, Subscription
from syncsvc.operations import bulk, control
from syncsvc.operations.asker import Asker
from syncsvc.operations.preview import preview
from syncsvc.operations.progress import progress
from syncsvc.operations.release import go_on
from syncsvc.operations.scope import Scope
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.scheduler import end_expired_leases
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.sync.world import World

ASKER = Asker(name="a test", source=Operation.Source.COMMAND)
RETRY = Scope(kind=Operation.Kind.RETRY)


def failed_subscriptions(world: World, count: int) -> list[Subscription]:
    world.repo.commit({"a": b"1"})
    Subscription.objects.filter(id=world.id).delete()
    return [
        SubscriptionFactory(
            app=AppFactory(url=world.receiver.url), repository=RepositoryFactory(url=str(world.repo.path)), failed=True
        )
        for _ in range(count)
    ]


def work(subscriptions: list[Subscription]) -> None:
    """Runs what can be claimed, as workers would, until nothing can."""
    while [s for s in subscriptions if run_subscription(s.id, worker="test", settled=go_on)]:
        pass


def adds_up(operation: Operation) -> bool:
    operation.refresh_from_db()
    counts = {status: operation.items.filter(status=status).count() for status in OperationItem.Status.values}
    return (
        all(getattr(operation, status) == n for status, n in counts.items()) and sum(counts.values()) == operation.total
    )


def test_a_bulk_retry_runs_every_failed_subscription_and_counts_what_came_of_it(world: World) -> None:
    subscriptions = failed_subscriptions(world, 5)

    operation = bulk.start(RETRY, ASKER, max_running=2)

    assert (operation.total, operation.items.filter(released_at__isnull=False).count()) == (5, 2)
    assert set(Subscription.objects.values_list("status", flat=True)) == {"failed"}
    work(subscriptions)
    assert adds_up(operation)
    assert (operation.status, operation.succeeded, operation.files) == ("finished", 5, 5)
    assert set(Subscription.objects.values_list("status", flat=True)) == {Status.SYNCED}
    shown = progress(operation.id)
    assert shown is not None
    assert (shown["completed"], shown["total"], shown["status"]) == (5, 5, "finished")


def test_cancel_leaves_what_was_not_claimed_exactly_as_it_was(world: World) -> None:
    failed_subscriptions(world, 3)
    before = list(Subscription.objects.order_by("id").values())

    operation = bulk.start(RETRY, ASKER)
    control.cancel(operation.id, ASKER)

    assert adds_up(operation)
    assert (operation.status, operation.cancelled) == ("cancelled", 3)
    assert list(Subscription.objects.order_by("id").values()) == before
    assert run_subscription(before[0]["id"], worker="test") is None


def test_a_bulk_resync_sends_everything_again_and_loses_no_delete(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"2"})
    world.run()
    world.repo.commit({"b": None})
    before = len(world.receiver.requests)

    operation = bulk.start(Scope(kind=Operation.Kind.RESYNC, app_id=world.app.id), ASKER)
    run = run_subscription(world.id, worker="test", settled=go_on)

    assert run is not None
    assert (run.trigger, run.outcome) == ("resync", "synced")
    assert world.told(before) == [("file.deleted", "b"), ("file.created", "a")]
    assert adds_up(operation)
    assert operation.status == "finished"


def test_an_item_that_was_interrupted_goes_on_and_forgets_only_once(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    operation = bulk.start(Scope(kind=Operation.Kind.RESYNC), ASKER)
    Subscription.objects.claim(world.id, token=uuid.uuid4(), run_id=uuid.uuid4(), worker="dead")
    assert adds_up(operation)
    assert operation.running == 1
    epoch = world.subscription.epoch
    Subscription.objects.filter(id=world.id).update(lease_expires_at="2020-01-01T00:00:00Z")
    end_expired_leases()
    assert adds_up(operation)
    assert (operation.running, operation.waiting) == (0, 1)
    work([world.subscription])

    assert adds_up(operation)
    assert (operation.status, operation.succeeded) == ("finished", 1)
    assert world.subscription.epoch == epoch


def test_a_preview_only_shrinks(world: World) -> None:
    subscriptions = failed_subscriptions(world, 2)
    Subscription.objects.update(failed_at="2026-01-01T00:00:00Z")
    shown = preview(RETRY)
    Subscription.objects.filter(id=subscriptions[0].id).update(status=Status.SYNCED, due_at=None)
    SubscriptionFactory(failed=True, failed_at="2100-01-01T00:00:00Z")

    operation = bulk.start(RETRY, ASKER, digest=shown.digest)

    assert (shown.total, operation.total) == (2, 1)


def test_an_operation_with_nothing_to_do_is_refused(world: World) -> None:
    with pytest.raises(Refused) as refused:
        bulk.start(RETRY, ASKER)
    assert refused.value.kind == "conflict"
    assert not Operation.objects.exists()
