"""One file is sent again, a held delete is let out, one subscription is paused: at once, and against real runs."""

import uuid

import pytest
from django.contrib.auth.models import User

from syncsvc.exceptions import Refused
from syncsvc.models import DeliveredFile, Operation, Status, Subscription
from syncsvc.operations import pausing, single
from syncsvc.operations.asker import Asker
from syncsvc.sync.pipeline import run_subscription
from tests.factories import deeds
from tests.operations.fleet import ASKER, SYNCED, claim, end
from tests.sync.answers import always
from tests.sync.world import World


def run_what_was_asked_for(world: World) -> str:
    run = run_subscription(world.id, worker="test")
    assert run is not None
    return run.outcome


def ids(world: World, since: int) -> list[str]:
    return [request.headers["webhook-id"] for request in world.receiver.requests[since:]]


def test_one_file_is_sent_again_as_it_is_now_and_no_other(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.run()
    before = len(world.receiver.requests)
    user = User.objects.create_superuser("operator")

    single.send_again(world.id, b"a", Asker(name="operator", source=Operation.Source.CONSOLE, user=user))

    assert (world.subscription.status, world.subscription.ledger_is_clean) == (Status.PENDING, False)
    assert run_what_was_asked_for(world) == "synced"
    assert world.told(before) == [("file.created", "a")]
    assert world.events(before)[0]["data"]["file"]["content"] == "1"
    assert set(ids(world, before)).isdisjoint(ids(world, 0)[:before])
    assert world.subscription.ledger_is_clean
    assert world.subscription.runs.first().asked_by == "operator"  # type: ignore[union-attr]
    assert deeds().get().text == "Sending again asked for: a"


def test_a_file_that_is_gone_is_told_as_deleted_again(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.run()
    world.repo.commit({"a": None})
    world.run()
    before = len(world.receiver.requests)

    single.send_again(world.id, b"a", ASKER)

    assert run_what_was_asked_for(world) == "synced"
    assert world.told(before) == [("file.deleted", "a")]
    assert set(world.ledger()) == {b"b"}


def test_a_file_in_doubt_is_sent_with_a_new_id_that_no_receiver_drops(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(500)
    world.run()
    world.receiver.answer = always(204)
    before = len(world.receiver.requests)

    single.send_again(world.id, b"a", ASKER)

    assert world.ledger()[b"a"].in_doubt
    assert run_what_was_asked_for(world) == "synced"
    assert world.told(before) == [("file.created", "a")]
    assert set(ids(world, before)).isdisjoint(ids(world, 0)[:before])


def test_while_a_run_goes_on_its_ledger_is_left_alone(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    Subscription.objects.filter(id=world.id).update(status=Status.PENDING, due_at="2020-01-01T00:00:00Z")
    job = claim(world.id)
    assert job is not None

    with pytest.raises(Refused, match="already in progress"):
        single.send_again(world.id, b"a", ASKER)
    assert DeliveredFile.objects.get().epoch == 1
    end(job, SYNCED)


def held(world: World) -> uuid.UUID:
    world.repo.commit({f"{n:03}": b"1" for n in range(30)})
    world.run()
    world.repo.commit({}, replace_all=True)
    return world.run().id


def test_a_held_delete_goes_out_once_it_is_allowed_and_the_next_is_held_again(world: World) -> None:
    run_id = held(world)
    assert single.held_run(world.subscription).id == run_id  # type: ignore[union-attr]

    single.allow_deletes(world.id, run_id, ASKER)

    assert world.subscription.approved_deletes == 30
    assert run_what_was_asked_for(world) == "synced"
    assert (world.ledger(), world.subscription.approved_commit) == ({}, "")
    assert single.held_run(world.subscription) is None
    with pytest.raises(Refused, match="not held"):
        single.allow_deletes(world.id, run_id, ASKER)


def test_what_is_held_by_now_is_not_what_was_shown(world: World) -> None:
    run_id = held(world)
    world.run()

    with pytest.raises(Refused, match="look at it again"):
        single.allow_deletes(world.id, run_id, ASKER)
    assert world.subscription.approved_commit == ""


def test_a_paused_subscription_refuses_and_goes_on_when_it_is_resumed(world: World) -> None:
    world.repo.commit({"a": b"1"})

    pausing.pause(Subscription.objects.all(), ASKER)

    assert run_subscription(world.id, worker="test") is None
    with pytest.raises(Refused, match="paused"):
        single.send_again(world.id, b"a", ASKER)
    pausing.resume(Subscription.objects.all(), ASKER)
    assert run_what_was_asked_for(world) == "synced"
    with pytest.raises(Refused, match="There is no subscription"):
        single.send_again(uuid.uuid4(), b"a", ASKER)
