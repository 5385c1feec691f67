"""Files that an endpoint does not take: the others arrive, and only these go out again."""

from datetime import timedelta

from django.utils import timezone

from syncsvc.models import DeliveryAttempt, Status
from tests.receiver import accept
from tests.sync.answers import refuses
from tests.sync.world import World, contents


def test_one_refused_file_of_many_keeps_none_of_the_others_back(world: World) -> None:
    world.repo.commit({f"{n:03}": b"%d" % n for n in range(300)})
    world.receiver.answer = refuses("123")

    run = world.run()

    assert (run.outcome, run.created, run.delivered, run.failed, run.requests) == ("postponed", 300, 299, 1, 300)
    assert (run.error_kind, "1 of 300" in run.error, "123" in run.error) == ("endpoint_rejected", True, True)
    attempt = DeliveryAttempt.objects.exclude(error_kind="").get()
    assert (bytes(attempt.path or b""), attempt.status, attempt.error_kind) == (b"123", 422, "endpoint_rejected")
    assert bytes(attempt.answer) == b"no, not that one"
    assert [path for path, row in world.ledger().items() if row.in_doubt] == [b"123"]
    subscription = world.subscription
    assert (subscription.status, subscription.retry_count) == (Status.PENDING, 1)
    assert (subscription.error_kind, subscription.ledger_is_clean) == ("endpoint_rejected", False)


def test_the_next_run_sends_the_refused_file_only_and_with_the_same_webhook_id(world: World) -> None:
    world.repo.commit({f"{n}": b"%d" % n for n in range(20)})
    world.receiver.answer = refuses("7")
    world.run()
    (refused,) = [r for r in world.receiver.requests if b'"path":"7"' in r.body]
    before = len(world.receiver.requests)
    world.receiver.answer = accept

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.trigger, run.created, run.delivered) == ("synced", "back_off", 1, 1)
    assert world.told(before) == [("file.created", "7")]
    assert world.receiver.requests[-1].headers["webhook-id"] == refused.headers["webhook-id"]
    subscription = world.subscription
    assert (subscription.status, subscription.retry_count, subscription.error_kind) == (Status.SYNCED, 0, "")
    assert (subscription.last_error, subscription.failing_since) == ("", None)
    assert world.client().files == contents(world.repo)


def test_a_newer_commit_meanwhile_sends_the_newest_version_only_under_a_new_id(world: World) -> None:
    world.repo.commit({"a": b"first", "b": b"b"})
    world.receiver.answer = refuses("a")
    world.run()
    (refused,) = [r for r in world.receiver.requests if b'"path":"a"' in r.body]
    before = len(world.receiver.requests)
    world.receiver.answer = accept
    newest = world.repo.commit({"a": b"second"})

    run = world.run()

    assert (run.outcome, run.to_commit) == ("synced", newest)
    (event,) = world.events(before)
    assert (event["type"], event["data"]["file"]["content"]) == ("file.created", "second")
    assert event["data"]["commit"] == newest
    assert world.receiver.requests[-1].headers["webhook-id"] != refused.headers["webhook-id"]


def test_a_refused_file_that_is_gone_by_then_is_sent_as_deleted_since_the_app_may_have_it(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"b"})
    world.receiver.answer = refuses("a", status=500)
    world.run()
    before = len(world.receiver.requests)
    world.receiver.answer = accept
    world.repo.commit({"a": None})

    world.run()

    assert world.told(before) == [("file.deleted", "a")]
    assert set(world.ledger()) == {b"b"}


def test_a_refused_update_stays_an_update_of_what_was_acknowledged(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    old = world.repo.ls_tree()[b"a"].sha
    world.repo.commit({"a": b"2"})
    world.receiver.answer = refuses("a")
    world.run()
    world.receiver.answer = accept

    world.run_when_due()

    first, second = world.events()[-2:]
    assert first["type"] == second["type"] == "file.updated"
    assert first["data"]["file"] == second["data"]["file"]
    assert first["data"]["file"]["previous_blob_sha"] == old


def test_a_file_that_goes_back_to_what_was_acknowledged_is_sent_again_where_the_app_may_have_the_other(
    world: World,
) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    world.repo.commit({"a": b"2"})
    world.receiver.answer = refuses("a", status=500)
    world.run()
    before = len(world.receiver.requests)
    world.receiver.answer = accept
    world.repo.commit({"a": b"1"})

    world.run()

    (event,) = world.events(before)
    assert (event["type"], event["data"]["file"]["content"]) == ("file.updated", "1")
    assert not world.ledger()[b"a"].in_doubt


def test_what_failed_is_due_after_the_first_quick_delay_and_tells_since_when(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = refuses("a")
    started = timezone.now()

    world.run()

    subscription = world.subscription
    assert subscription.due_at is not None
    assert subscription.failing_since is not None
    assert timedelta(seconds=4) <= subscription.due_at - started <= timedelta(seconds=8)
    assert started <= subscription.failing_since <= timezone.now()
    assert subscription.last_success_at is None
