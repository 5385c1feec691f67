"""A newer epoch forgets what an app has: it is sent everything again, and loses no delete."""

from django.db import connection
from django.db.models import F

from syncsvc.models import Status, Subscription
from tests.factories import AppFactory, SubscriptionFactory
from tests.sync.world import World, contents


def forget(world: World) -> None:
    Subscription.objects.filter(id=world.id).update(epoch=F("epoch") + 1)


def test_a_forgotten_ledger_is_sent_again_as_created_under_new_ids(world: World) -> None:
    world.repo.commit({f"{n}": b"%d" % n for n in range(5)})
    world.run()
    first = {request.headers["webhook-id"] for request in world.receiver.requests}
    forget(world)

    run = world.run()

    assert (run.outcome, run.created, run.updated, run.epoch) == ("synced", 5, 0, 2)
    again = {request.headers["webhook-id"] for request in world.receiver.requests[5:]}
    assert len(again) == 5
    assert not again & first
    assert {event["data"]["file"]["previous_blob_sha"] for event in world.events(5)} == {None}
    assert {row.epoch for row in world.ledger().values()} == {2}
    assert world.run().requests == 0


def test_what_is_gone_from_the_repository_by_then_is_sent_as_deleted(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.run()
    forget(world)
    world.repo.commit({"a": None})

    world.run()

    assert world.told(2) == [("file.deleted", "a"), ("file.created", "b")]
    assert world.client().files == contents(world.repo)
    assert set(world.ledger()) == {b"b"}


def test_an_epoch_that_begins_while_a_run_is_on_leaves_that_runs_ledger_forgotten(world: World) -> None:
    world.repo.commit({"a": b"1"})

    def answer(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes, float]:
        if len(world.receiver.requests) == 1:
            forget(world)
            connection.close()
        return 204, {}, b"", 0.0

    world.receiver.answer = answer
    world.run()
    assert not world.subscription.ledger_is_clean

    run = world.run()

    assert (run.created, run.epoch, world.subscription.status) == (1, 2, Status.SYNCED)
    assert world.subscription.ledger_is_clean


def test_apps_that_follow_the_same_repository_know_nothing_of_each_other(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    other = SubscriptionFactory(app=AppFactory(url=world.receiver.url), repository=world.repository, synced=True)
    forget(world)

    world.run()

    other.refresh_from_db()
    assert (other.epoch, other.status) == (1, Status.SYNCED)
