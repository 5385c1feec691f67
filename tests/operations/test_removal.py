"""Deleting apps, repositories and subscriptions while operations begin, release, run and settle them."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, transaction

from syncsvc.exceptions import Refused
from syncsvc.models import App, DeliveryAttempt, Operation, OperationItem, Repository, Subscription
from syncsvc.operations import bulk, control, pausing
from syncsvc.operations.apps import save_app
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import sweep_operations
from syncsvc.operations.removal import remove, what_goes
from syncsvc.store.attempts import Attempt, log_attempts
from syncsvc.sync.ending import Failed
from syncsvc.types import ErrorKind
from tests import factories
from tests.factories import deeds
from tests.models.test_on_delete import orphans
from tests.operations.fleet import (
    ASKER,
    FAILED,
    RESYNC,
    RETRY,
    SYNCED,
    adds_up,
    claim,
    counts,
    fleet,
    in_threads,
    run,
    work,
)

pytestmark = pytest.mark.django_db(transaction=True)


def in_thread(act: Callable[[], Any]) -> threading.Thread:
    def closing() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=closing)
    thread.start()
    return thread


def until_somebody_waits() -> None:
    """Until a statement of another connection waits for a lock."""
    for _ in range(500):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


def started(**options: Any) -> Operation:
    return bulk.start(RETRY, ASKER, confirmed=True, **options)


@pytest.mark.parametrize("model", [App, Repository, Subscription])
def test_what_an_operation_had_still_to_do_of_them_is_skipped_at_once(model: type[Any]) -> None:
    subscriptions = fleet(2, 2)
    operation = started(max_running=3)
    job = claim(subscriptions[0].id)
    assert job is not None
    owners = {App: job.app, Repository: job.repository, Subscription: job.subscription}
    going = subscriptions_with(owners[model])

    assert remove(model._default_manager.filter(pk=owners[model].pk), ASKER) == 1

    assert adds_up()
    assert counts(operation)["skipped"] == going
    assert set(operation.items.filter(status="skipped").values_list("reason", flat=True)) <= {
        "The subscription was deleted.",
        "The subscription was deleted while it ran.",
    }
    work(subscriptions)
    sweep_operations()
    assert counts(operation) == {"skipped": going, "succeeded": 4 - going}
    assert operation.status == "finished"
    assert orphans() == {}


def subscriptions_with(row: App | Repository | Subscription) -> int:
    return 1 if isinstance(row, Subscription) else row.subscriptions.count()


def test_a_paused_operation_goes_on_without_what_was_deleted() -> None:
    subscriptions = fleet(1, 3)
    operation = started()
    control.pause(operation.id, ASKER)

    remove(Subscription.objects.filter(pk=subscriptions[0].pk), ASKER)
    assert adds_up()
    control.resume(operation.id, ASKER)
    work(subscriptions)
    sweep_operations()

    assert counts(operation) == {"skipped": 1, "succeeded": 2}
    assert adds_up()


def test_what_was_once_in_an_operation_can_be_deleted_and_its_item_keeps_the_names() -> None:
    subscriptions = fleet(1, 2)
    name = str(subscriptions[0])
    started()
    work(subscriptions)

    remove(App.objects.all(), ASKER)

    item = OperationItem.objects.order_by("id").first()
    assert item is not None
    assert (item.subscription_id, str(item)) == (None, name)
    assert not Subscription.objects.exists()


def test_what_goes_is_said_table_by_table() -> None:
    subscription = factories.SubscriptionFactory()
    factories.DeliveredFileFactory.create_batch(3, subscription=subscription)
    factories.DeliveryAttemptFactory(run__subscription=subscription)
    factories.SnapshotFactory(repository=subscription.repository)
    factories.DeliveredFileFactory()

    def said(row: Any) -> dict[str, int]:
        parts = what_goes(type(row)._default_manager.filter(pk=row.pk))
        return {part.model.__name__: part.count() for part in parts}

    hanging = {"DeliveredFile": 3, "DeliveryAttempt": 1, "SyncRun": 1}
    assert said(subscription) == {"Subscription": 1, **hanging}
    assert said(subscription.app) == {"App": 1, "Subscription": 1, **hanging}
    assert said(subscription.repository) == {"Repository": 1, "Subscription": 1, "Snapshot": 1, **hanging}


def test_a_user_s_delete_is_in_the_log() -> None:
    asker = Asker(name="ann", source=Operation.Source.CONSOLE, user=factories.UserFactory())
    subscription = factories.SubscriptionFactory()
    remove(Subscription.objects.all(), asker)
    remove(App.objects.all(), ASKER)
    assert [(entry.action, entry.actor, entry.object_name) for entry in deeds()] == [
        ("deleted", "ann", str(subscription)),
        ("deleted", ASKER.name, subscription.app.name),
    ]


def test_an_operation_that_begins_during_a_delete_leaves_out_what_goes() -> None:
    subscriptions = fleet(1, 3)
    started_meanwhile: list[Operation] = []
    with transaction.atomic():
        remove(Subscription.objects.filter(pk=subscriptions[0].pk), ASKER)
        beginning = in_thread(lambda: started_meanwhile.append(started()))
        until_somebody_waits()
    beginning.join(20)

    assert [operation.total for operation in started_meanwhile] == [2]
    assert adds_up()
    assert orphans() == {}


def test_a_delete_waits_for_attempts_that_are_being_written_and_takes_them_along() -> None:
    run_ = factories.SyncRunFactory(running=True)
    requests = [Attempt("msg", "created", b"a", 1, 204, "", "", 12, b"")] * 3
    with transaction.atomic():
        log_attempts(run_.subscription_id, run_.id, requests)
        deleting = in_thread(lambda: remove(Subscription.objects.all(), ASKER))
        until_somebody_waits()
    deleting.join(20)
    log_attempts(run_.subscription_id, run_.id, requests)

    assert not Subscription.objects.exists()
    assert not DeliveryAttempt.objects.exists()


GONE = Failed(ErrorKind.ENDPOINT_GONE, "The endpoint answered 410.")


@pytest.mark.parametrize("seed", range(3))
def test_deletes_meet_operations_that_begin_and_run_without_an_error(seed: int) -> None:
    """No deadlock, no foreign key that fails, and counts that add up at the end."""
    subscriptions = fleet(4, 6)
    rows: list[Any] = [*App.objects.all()[:2], *Repository.objects.all()[:2], *subscriptions[18:22]]
    chance = random.Random(seed)
    chance.shuffle(rows)

    def act(number: int) -> None:
        if number == 0:
            for row in rows:
                remove(type(row)._default_manager.filter(pk=row.pk), ASKER)
        elif number == 1:
            for scope in (RETRY, RESYNC) * 4:
                try:
                    bulk.start(scope, ASKER, confirmed=True)
                except Refused:  # nothing is left
                    sweep_operations()
        elif number == 2:
            for app in list(App.objects.all()) * 3:
                pausing.pause(App.objects.filter(pk=app.pk), ASKER)
                app.is_active, app.url = True, f"{app.url}/new"
                with suppress(Refused):  # it was deleted
                    save_app(app, ASKER, changed={"is_active", "url"})
        else:
            for subscription in subscriptions * 3:
                run(subscription.id, chance.choice([SYNCED, FAILED, GONE]))

    in_threads(act, 6)
    pausing.resume(App.objects.all(), ASKER)
    work(subscriptions)
    sweep_operations()

    assert adds_up()
    assert orphans() == {}
    assert not Operation.objects.open().filter(waiting=0, running=0).exists()
