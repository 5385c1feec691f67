"""Bulk operations on real rows, git and HTTP; a loop stands for the workers."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem, Repository, Snapshot, Status, Subscription
from syncsvc.operations import bulk, control
from syncsvc.operations.asker import Asker
from syncsvc.operations.preview import preview
from syncsvc.operations.progress import progress
from syncsvc.operations.release import go_on
from syncsvc.operations.scope import Scope
from syncsvc.store.claim import claim
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.scheduler import end_expired_leases
from syncsvc.types import ErrorKind
from tests.factories import AppFactory, RepositoryFactory, SnapshotFactory, SubscriptionFactory, deeds
from tests.operations.fleet import ASKER, FAILED, POSTPONED, RESYNC, RETRY, SYNCED, fleet, in_threads, run
from tests.sync.world import World


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
    claim(world.id, token=uuid.uuid4(), run_id=uuid.uuid4(), worker="dead")
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


def test_what_a_preview_says_by_app_adds_up_however_many_there_are(db: None) -> None:
    fleet(apps=23, each=2)

    shown = preview(RETRY)

    assert (len(shown.by_app), shown.by_app["3 others"]) == (21, 6)
    assert sum(shown.by_app.values()) == shown.total == 46


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


def words(scope: Scope) -> tuple[str, int]:
    operation = bulk.start(scope, ASKER)
    control.cancel(operation.id, ASKER)
    return operation.scope_text, operation.total


def test_every_scope_takes_its_subscriptions_and_says_so_in_words(db: None) -> None:
    subscriptions = fleet(apps=2, each=3)
    first = subscriptions[0]
    first.app.name, first.repository.name = "acme", "owner/docs"
    first.app.save()
    first.repository.save()
    Subscription.objects.filter(id=first.id).update(error_kind="endpoint_timeout")
    Subscription.objects.filter(id=subscriptions[-1].id).update(status=Status.SYNCED, due_at=None)
    ids = [s.id for s in subscriptions[1:3]]
    app, repository, kind = first.app_id, first.repository_id, ErrorKind.ENDPOINT_TIMEOUT
    retry, resync = Operation.Kind.RETRY, Operation.Kind.RESYNC
    assert [
        words(Scope(kind=retry)),
        words(Scope(kind=retry, app_id=app)),
        words(Scope(kind=retry, repository_id=repository)),
        words(Scope(kind=retry, error_kind=kind)),
        words(Scope(kind=retry, ids=ids)),
        words(Scope(kind=retry, app_id=app, repository_id=repository, error_kind=kind)),
        words(Scope(kind=resync)),
        words(Scope(kind=resync, app_id=app)),
        words(Scope(kind=resync, repository_id=repository)),
    ] == [
        ("all failed subscriptions", 5),
        ("all failed subscriptions of acme", 3),
        ("all failed subscriptions following owner/docs", 2),
        ("all failed subscriptions with endpoint_timeout", 1),
        ("2 selected failed subscriptions", 2),
        ("all failed subscriptions of acme following owner/docs with endpoint_timeout", 1),
        ("all subscriptions", 6),
        ("all subscriptions of acme", 3),
        ("all subscriptions following owner/docs", 2),
    ]


def test_what_failed_in_an_operation_is_retried_by_another_that_is_linked_to_it(transactional_db: None) -> None:
    subscriptions = fleet(apps=1, each=3)
    operation = bulk.start(RETRY, ASKER)
    with pytest.raises(Refused, match="has not ended"):
        bulk.retry_failed_of(operation, ASKER)
    for subscription, ending in zip(subscriptions, (FAILED, POSTPONED, SYNCED), strict=True):
        assert run(subscription.id, ending)
    operation.refresh_from_db()
    again = bulk.retry_failed_of(operation, ASKER)
    assert (again.retries_id, again.total) == (operation.id, 2)
    assert [run(subscription.id) for subscription in subscriptions] == [True, True, False]
    assert (adds_up(again), again.succeeded) == (True, 2)
    with pytest.raises(Refused, match="nothing to do"):
        bulk.retry_failed_of(operation, ASKER)


def test_ten_thousand_items_are_frozen_in_the_request_by_one_statement(transactional_db: None) -> None:
    fleet(apps=20, each=500)
    with CaptureQueriesContext(connection) as queries:
        operation = bulk.start(RETRY, ASKER, confirmed=True)
    assert (operation.total, operation.items.count()) == (10_000, 10_000)
    assert sum("INTO syncsvc_operationitem" in query["sql"] for query in queries) == 1
    assert len(queries) <= 14
    apps = Operation.objects.get().items.order_by("turn", "id").values_list("app_id", flat=True)[:20]
    assert len(set(apps)) == 20, "apps take turns"


def test_one_idempotency_key_starts_one_operation_even_at_once(transactional_db: None) -> None:
    fleet(apps=1, each=3)
    found = in_threads(lambda _: bulk.start(RETRY, ASKER, idempotency_key="nightly").id, 6)
    assert len(set(found)) == 1
    assert Operation.objects.count() == 1
    assert bulk.start(RETRY, ASKER, idempotency_key="nightly").id == found[0]
    assert bulk.start(RETRY, ASKER, idempotency_key="another").id != found[0]


def refusal(scope: Scope = RETRY, **options: Any) -> str:
    with pytest.raises(Refused) as refused:
        bulk.start(scope, ASKER, **options)
    assert not Operation.objects.exists()
    return refused.value.kind


def test_a_forged_or_old_digest_is_refused(db: None, settings: Settings) -> None:
    fleet(apps=1, each=1)
    digest = preview(RETRY).digest
    assert refusal(digest=digest[:-1] + ("A" if digest[-1] != "A" else "B")) == "invalid"
    assert refusal(digest="nonsense") == "invalid"
    old = time.time() - 3601
    with freeze(old):
        digest = preview(RETRY).digest
    assert refusal(digest=digest) == "conflict"


@contextmanager
def freeze(at: float) -> Iterator[None]:
    """A digest that was signed then: django.core.signing takes the time from time.time()."""
    clock = signing.time.time
    signing.time.time = lambda: at
    try:
        yield
    finally:
        signing.time.time = clock


def test_a_resync_that_grew_by_more_than_a_tenth_since_its_preview_is_refused(db: None) -> None:
    (subscription,) = fleet(apps=1, each=1, synced=True)
    snapshot = SnapshotFactory(repository=subscription.repository, files=100)
    Subscription.objects.update(snapshot=snapshot)
    digest = preview(RESYNC).digest
    Snapshot.objects.update(files=111)
    assert refusal(RESYNC, digest=digest) == "conflict"
    assert refusal(RETRY, digest=digest) == "invalid", "it is of something else"
    Snapshot.objects.update(files=110)
    assert bulk.start(RESYNC, ASKER, digest=digest).total == 1


def test_what_fails_again_of_the_same_kind_still_belongs_to_the_preview_and_what_fails_anew_does_not(
    transactional_db: None,
) -> None:
    first, second, third = fleet(apps=1, each=3)
    Subscription.objects.update(error_kind=FAILED.kind, due_at=Now())
    digest = preview(RETRY).digest
    assert run(first.id, FAILED)
    assert run(second.id, SYNCED)
    Subscription.objects.filter(id=second.id).update(status=Status.PENDING, due_at=Now())
    assert run(second.id, FAILED)
    assert run(third.id, SYNCED)
    operation = bulk.start(RETRY, ASKER, digest=digest)
    assert [item.subscription_id for item in operation.items.all()] == [first.id]


def test_above_a_limit_the_count_must_be_typed(db: None, settings: Settings) -> None:
    settings.BULK_CONFIRM_OVER = 2
    fleet(apps=1, each=3)
    digest = preview(RETRY).digest
    assert refusal() == "confirm"
    assert refusal(digest=digest, typed_count=2) == "confirm"
    Subscription.objects.filter(id=Subscription.objects.values("id")[:1]).update(status=Status.SYNCED, due_at=None)
    assert bulk.start(RETRY, ASKER, digest=digest, typed_count=3).total == 2, "what was shown is what is typed"


def test_who_asked_and_from_where_is_kept_and_written_to_the_admin_log(db: None) -> None:
    fleet(apps=1, each=2)
    ann = User.objects.create_user("ann")
    asker = Asker(name="ann", source=Operation.Source.API, user=ann, address="192.0.2.1")
    operation = bulk.start(RETRY, asker)
    assert (operation.user_id, operation.asked_by, operation.source, operation.address) == (
        *(ann.pk, "ann"),
        *("api", "192.0.2.1"),
    )
    assert deeds().get().text == "Retry of 2: all failed subscriptions"


@pytest.mark.django_db(transaction=True)
def test_a_re_sync_is_shown_with_what_the_repositories_hold_for_apps_that_have_nothing_yet_too() -> None:
    followed = fleet(apps=3, each=1)
    for repository in Repository.objects.all():
        SnapshotFactory(repository=repository, files=10, bytes=100)
        SnapshotFactory(repository=repository, files=7, bytes=70)
    Subscription.objects.update(snapshot=None)

    shown = preview(RESYNC)

    assert (shown.files, shown.bytes) == (len(followed) * 7, len(followed) * 70)
