"""Wake-ups: sent after commit, and never an error for who asks, since the sweep sends them again."""

import logging
import threading

import pytest
from django.db import connection, transaction
from pytest_django import Settings
from redis import Redis

from syncsvc.models import Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from tests.factories import SubscriptionFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redis(settings: Settings) -> Redis:
    redis = Redis.from_url(settings.REDIS_URL)
    redis.delete("live.0")
    return redis


def ask() -> int:
    return ask_for_runs(Subscription.objects.all(), Trigger.SYNC)


def test_a_wake_up_goes_out_after_commit_and_not_at_all_after_a_rollback(redis: Redis) -> None:
    SubscriptionFactory()

    with transaction.atomic():
        ask()
        assert redis.llen("live.0") == 0
        transaction.set_rollback(True)
    assert redis.llen("live.0") == 0

    assert ask() == 1
    assert redis.llen("live.0") == 1


def test_a_wake_up_goes_out_from_any_thread(redis: Redis) -> None:
    SubscriptionFactory()

    def web_request() -> None:
        ask()
        connection.close()

    thread = threading.Thread(target=web_request)
    thread.start()
    thread.join()

    assert redis.llen("live.0") == 1


def test_a_connection_that_redis_has_closed_is_no_error_for_who_asks(redis: Redis) -> None:
    SubscriptionFactory()
    ask()
    for client in redis.client_list():
        if client["db"] == str(redis.get_connection_kwargs()["db"]) and client["id"] != str(redis.client_id()):
            redis.client_kill_filter(_id=client["id"])
    Subscription.objects.update(queued_at=None)

    assert ask() == 1
    assert redis.llen("live.0") == 2


def test_a_redis_that_refuses_is_no_error_for_who_asks(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    SubscriptionFactory()
    redis.set("live.0", "no list")

    with caplog.at_level(logging.WARNING):
        assert ask() == 1
    redis.delete("live.0")

    assert "wakeup.failed" in caplog.text
    assert Subscription.objects.get().queued_at is not None
