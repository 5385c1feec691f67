"""A retry or re-sync of one subscription: at once, at most one run, and no more work than an UPDATE."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from syncsvc.exceptions import Refused
from syncsvc.models import App, DeliveredFile, Repository, Status, Subscription, SyncRun
from syncsvc.operations import single
from syncsvc.sync.pipeline import run_subscription
from tests.factories import SubscriptionFactory
from tests.operations.fleet import ASKER, claim, in_threads, run
from tests.outages import throttle
from tests.receiver import Reply
from tests.sync.world import World, contents


def failing(world: World, status: int = 422) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = lambda headers, body: (status, {}, b"", 0.0)
    world.run()
    world.receiver.answer = lambda headers, body: (204, {}, b"", 0.0)


def refused(call: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    return refusal.value.kind, str(refusal.value)


def test_a_retry_runs_at_once_as_if_nothing_had_failed(world: World) -> None:
    failing(world)
    assert world.subscription.retry_count == 1

    queued = single.retry(world.id, ASKER)

    subscription = world.subscription
    assert (subscription.status, subscription.retry_count, subscription.last_error) == (Status.PENDING, 0, "")
    assert subscription.queued_at is not None
    run = run_subscription(world.id, worker="test")
    assert run is not None
    assert (run.trigger, run.asked_by, run.outcome, queued.note) == ("retry", "a test", "synced", "")


def test_fifty_retries_at_once_make_one_run(world: World) -> None:
    Subscription.objects.update(status=Status.FAILED, due_at=None)

    def retry(number: int) -> str:
        try:
            single.retry(world.id, ASKER)
        except Refused as refusal:
            return str(refusal)
        return "queued"

    answers = in_threads(retry, 50)
    runs = in_threads(lambda _: run(world.id), 10)

    assert sorted(set(answers)) == [single.RETRY_IN_PROGRESS, "queued"]
    assert (answers.count("queued"), runs.count(True), SyncRun.objects.count()) == (1, 1, 1)


def test_what_is_queued_or_running_is_a_conflict(world: World) -> None:
    Subscription.objects.update(status=Status.FAILED)
    single.retry(world.id, ASKER)
    assert refused(single.retry, world.id, ASKER) == ("conflict", "A retry is already in progress")
    assert refused(single.resync, world.id, ASKER) == ("conflict", "A sync is already in progress")
    claim(world.id)
    assert refused(single.retry, world.id, ASKER) == ("conflict", "A retry is already in progress")
    assert refused(single.resync, world.id, ASKER) == ("conflict", "A sync is already in progress")


def test_what_is_synced_has_nothing_to_retry(world: World) -> None:
    Subscription.objects.update(status=Status.SYNCED, due_at=None)
    assert refused(single.retry, world.id, ASKER)[0] == "conflict"
    assert refused(single.retry, uuid.uuid4(), ASKER)[0] == "not_found"


def test_a_wake_up_that_was_lost_is_no_conflict(world: World) -> None:
    Subscription.objects.update(status=Status.FAILED, queued_at="2026-01-01T00:00:00Z")
    single.retry(world.id, ASKER)
    assert run(world.id)


@pytest.mark.parametrize("model", [App, Repository, Subscription])
def test_what_is_paused_is_refused_with_the_reason(world: World, model: type[App]) -> None:
    Subscription.objects.update(status=Status.FAILED)
    model.objects.update(is_active=False)
    kind, text = refused(single.retry, world.id, ASKER)
    assert (kind, refused(single.resync, world.id, ASKER)[0]) == ("paused", "paused")
    assert model._meta.verbose_name in text
    assert "is paused" in text


def test_a_retry_probes_an_open_circuit_and_says_so(world: World) -> None:
    failing(world, 500)
    App.objects.update(circuit_opened_at=Now(), circuit_until="2100-01-01T00:00:00Z", circuit_openings=1)

    assert single.retry(world.id, ASKER).note == "The endpoint's circuit is open; a retry probes it now."
    run = run_subscription(world.id, worker="test")

    assert run is not None
    assert run.outcome == "synced"
    assert App.objects.get().circuit_opened_at is None


@pytest.mark.parametrize("files", [10, 100_000])
def test_a_resync_is_one_update_however_many_files_there_are(db: None, files: int) -> None:
    subscription = SubscriptionFactory(synced=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO syncsvc_deliveredfile (subscription_id, path, mode, blob, epoch)
               SELECT %s, n::text::bytea, '100644', repeat('0', 40), 1 FROM generate_series(1, %s) n""",
            [subscription.id, files],
        )
    with CaptureQueriesContext(connection) as queries:
        single.resync(subscription.id, ASKER)

    written = [query["sql"] for query in queries if not query["sql"].startswith(("SELECT", "SAVEPOINT", "RELEASE"))]
    assert [sql.split()[:2] for sql in written] == [["UPDATE", '"syncsvc_subscription"'], ["INSERT", "INTO"]]
    assert '"syncsvc_auditentry"' in written[1]
    assert DeliveredFile.objects.filter(epoch=1).count() == files
    assert Subscription.objects.get().epoch == 2


def test_a_resync_sends_all_again_and_loses_no_delete_even_when_it_is_interrupted(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"2", "c": b"3"})
    world.run()
    world.repo.commit({"b": None})
    before = len(world.receiver.requests)

    def rejects_c(headers: dict[str, str], body: bytes) -> Reply:
        return (422 if b'"path":"c"' in body else 204), {}, b"", 0.0

    single.resync(world.id, ASKER)
    world.receiver.answer = rejects_c
    first = run_subscription(world.id, worker="test")
    assert first is not None
    assert (first.trigger, first.outcome) == ("resync", "postponed")
    assert sorted(world.told(before)) == [("file.created", "a"), ("file.created", "c"), ("file.deleted", "b")]
    middle = len(world.receiver.requests)
    world.receiver.answer = lambda headers, body: (204, {}, b"", 0.0)
    world.run()

    assert world.told(middle) == [("file.created", "c")]
    assert world.client().files == contents(world.repo)


def test_a_retry_of_a_throttled_endpoint_sends_one_request_now_and_says_so(world: World) -> None:
    world.repo.commit({"a": b"1"})
    throttle(world.app.id)

    assert single.retry(world.id, ASKER).note == "The endpoint asked for fewer requests; a retry sends one now."
    ended = run_subscription(world.id, worker="test")

    assert ended is not None
    assert (ended.outcome, len(world.receiver.requests)) == ("synced", 1)
    assert App.objects.get().throttled_until is None
