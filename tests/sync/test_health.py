"""Health: never raises, never takes long, and judges by Redis's clock."""

import socket
import time

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings
from redis import Redis

from syncsvc.management.embedded import free_port
from syncsvc.sync.health import BEAT_KEY, TROUBLE_KEY, WORKERS_KEY, beat_seen, database_answers, health, worker_seen


@pytest.fixture
def redis(settings: Settings) -> Redis:
    client = Redis.from_url(settings.REDIS_URL)
    client.delete(BEAT_KEY, WORKERS_KEY, TROUBLE_KEY)
    return client


def test_what_was_not_seen_is_not_there(redis: Redis, db: None) -> None:
    assert health() == {"database": True, "redis": True, "scheduler": False, "workers": 0, "trouble": {}}


def test_what_was_seen_is_there_for_a_while(redis: Redis, db: None) -> None:
    beat_seen()
    worker_seen("one@host")
    worker_seen("two@host")
    worker_seen("two@host")
    assert health() == {"database": True, "redis": True, "scheduler": True, "workers": 2, "trouble": {}}
    assert 25 <= redis.ttl(BEAT_KEY) <= 30
    seconds, _ = redis.time()
    redis.zadd(WORKERS_KEY, {"one@host": seconds - 61})
    assert health()["workers"] == 1
    worker_seen("two@host")
    assert redis.zcard(WORKERS_KEY) == 1


def test_a_redis_that_is_gone_is_no_error(settings: Settings, db: None) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    beat_seen()
    worker_seen("one@host")
    assert health() == {"database": True, "redis": False, "scheduler": False, "workers": 0, "trouble": {}}


def test_servers_that_hang_cost_two_seconds_each(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        for name, value in (("HOST", "127.0.0.1"), ("PORT", str(port))):
            monkeypatch.setitem(connection.settings_dict, name, value)
        started = time.monotonic()
        assert health() == {"database": False, "redis": False, "scheduler": False, "workers": 0, "trouble": {}}
        assert time.monotonic() - started < 6


def test_a_database_that_is_gone_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", str(free_port()))
    assert database_answers() is False


def test_a_worker_says_what_is_wrong_with_it_until_it_is_well(redis: Redis, db: None) -> None:
    worker_seen("one", disk="This worker cannot write.")
    worker_seen("two")
    found = health()
    assert (found["workers"], found["trouble"]) == (2, {"one": {"kind": "disk", "text": "This worker cannot write."}})

    worker_seen("one", crash="A task failed.")
    assert health()["trouble"] == {"one": {"kind": "crash", "text": "A task failed."}}

    worker_seen("one")
    assert health()["trouble"] == {}


def test_the_trouble_of_a_worker_that_is_gone_is_nobodys(redis: Redis, db: None) -> None:
    """A container that takes its place has another name, and is well: the system is ready."""
    beat_seen()
    worker_seen("one", disk="This worker cannot write.")
    worker_seen("two")
    seconds, _ = redis.time()
    redis.zadd(WORKERS_KEY, {"one": seconds - 61})
    worker_seen("two")
    found = health()
    assert (found["workers"], found["trouble"]) == (1, {})
    assert Client().get("/readyz").status_code == 200
