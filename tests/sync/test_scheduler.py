"""The sweep: what is due is found in the database, by any number of sweeps at once."""

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from syncsvc.models import App, Repository, Subscription
from syncsvc.store.claim import claim
from syncsvc.sync.scheduler import sweep, wake_due_subscriptions
from syncsvc.wakeup import queue_name
from tests.factories import AppFactory, SubscriptionFactory
from tests.sync.rows import copy_rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def queues(settings: Settings) -> Redis:
    redis = Redis.from_url(settings.REDIS_URL)
    redis.delete("live.0", "live.1", "live.2", "bulk.0")
    return redis


def due(count: int, **values: Any) -> list[uuid.UUID]:
    app = AppFactory()
    return [SubscriptionFactory(app=app, **values).id for _ in range(count)]


def queued() -> set[uuid.UUID]:
    return set(Subscription.objects.filter(queued_at__isnull=False).values_list("id", flat=True))


def test_what_is_due_is_woken_once_and_again_only_when_the_wake_up_counts_as_lost(queues: Redis) -> None:
    ids = due(3)

    assert wake_due_subscriptions() == 3
    assert queues.llen("live.0") == 3
    assert wake_due_subscriptions() == 0
    Subscription.objects.filter(id=ids[0]).update(queued_at=F("queued_at") - timedelta(seconds=61))
    assert wake_due_subscriptions() == 1
    assert queues.llen("live.0") == 4


def test_a_batch_at_a_time_is_woken_the_longest_due_first_until_none_is_left(settings: Settings, queues: Redis) -> None:
    settings.SWEEP_BATCH = 4
    ids = due(10)
    for n, id in enumerate(ids):
        Subscription.objects.filter(id=id).update(due_at=timezone.now() - timedelta(minutes=n))

    assert wake_due_subscriptions() == 4
    assert queued() == set(ids[-4:])
    sweep()
    assert queued() == set(ids)
    assert queues.llen("live.0") == 10


@pytest.mark.parametrize("model", [App, Repository, Subscription])
def test_what_is_paused_is_not_woken(model: Any) -> None:
    due(2)
    model.objects.update(is_active=False)

    assert wake_due_subscriptions() == 0


def test_what_wants_no_run_now_is_not_woken() -> None:
    due(1, due_at=timezone.now() + timedelta(minutes=1))
    due(1, synced=True)
    due(1, failed=True)
    claimed = due(1)[0]
    claim(claimed, token=uuid.uuid4(), run_id=uuid.uuid4(), worker="w")

    assert wake_due_subscriptions() == 0


def test_a_failed_one_is_woken_for_its_slow_try() -> None:
    ids = due(1, failed=True)
    Subscription.objects.update(due_at=Now())

    assert wake_due_subscriptions() == 1
    assert queued() == set(ids)


def test_two_sweeps_at_once_share_the_work_and_wake_none_twice(settings: Settings, queues: Redis) -> None:
    settings.SWEEP_BATCH = 7
    due(60)
    start = threading.Barrier(4)
    woken: list[int] = []

    def work() -> None:
        start.wait()
        while count := wake_due_subscriptions():
            woken.append(count)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(woken) == 60
    assert queues.llen("live.0") == 60


def test_a_sweep_waits_for_nobodys_lock(settings: Settings) -> None:
    settings.SWEEP_BATCH = 10
    ids = due(5)
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Subscription.objects.select_for_update().get(id=ids[0])
            locked.set()
            release.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(10)

    assert wake_due_subscriptions() == 4
    release.set()
    holder.join()
    assert wake_due_subscriptions() == 1


def test_a_repository_has_its_shards_queue_on_every_machine(settings: Settings, queues: Redis) -> None:
    settings.SYNC_QUEUES = 3
    id = uuid.UUID(int=31)

    assert [queue_name("live", uuid.UUID(int=n)) for n in (30, 31, 32)] == ["live.0", "live.1", "live.2"]
    assert queue_name("bulk", id) == "bulk.1"


def test_the_due_query_of_ten_thousand_reads_the_partial_index() -> None:
    later = timezone.now() + timedelta(hours=1)
    SubscriptionFactory(due_at=later, repository__due_at=later)
    copy_rows(Repository, 10_000, id="gen_random_uuid()", name="'r' || n")
    copy_rows(App, 9_999, id="gen_random_uuid()", name="'a' || n")
    copy_rows(Subscription, 9_999, id="gen_random_uuid()", app_id="(SELECT id FROM syncsvc_app WHERE name = 'a' || n)")
    few = Subscription.objects.values_list("id", flat=True)[:5]
    Subscription.objects.filter(id__in=list(few)).update(due_at=Now())
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE syncsvc_subscription, syncsvc_repository, syncsvc_app")

    subscriptions = Subscription.objects.due().select_for_update(skip_locked=True, of=("self",)).order_by("due_at")
    with transaction.atomic():
        assert "subscription_due" in subscriptions[:500].explain()
    assert wake_due_subscriptions() == 5
