"""Progress that is true, and cheap for any number of readers."""

import threading
import time
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from pytest_django import Settings
from redis import Redis

from syncsvc.models import Operation
from syncsvc.operations import bulk, control
from syncsvc.operations import progress as module
from syncsvc.operations.progress import errors_by_kind, key, progress, publish
from syncsvc.operations.release import sweep_operations
from syncsvc.redis_connections import TIMEOUT_SECONDS
from tests.operations.fleet import ASKER, FAILED, RETRY, SYNCED, claim, end, fleet, in_threads, run, work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redis(settings: Settings) -> Redis:
    return Redis.from_url(settings.REDIS_URL, decode_responses=True)


def shown(operation: Operation) -> dict[str, Any]:
    found = progress(operation.id)
    assert found is not None
    return found


def test_it_says_what_the_row_says_after_every_step() -> None:
    subscriptions = fleet(apps=2, each=2)
    operation = bulk.start(RETRY, ASKER)
    steps = [
        lambda: None,
        lambda: run(subscriptions[0].id),
        lambda: run(subscriptions[1].id, FAILED),
        lambda: control.pause(operation.id, ASKER),
        lambda: control.resume(operation.id, ASKER),
        lambda: control.cancel(operation.id, ASKER),
    ]
    for step in steps:
        step()
        operation.refresh_from_db()
        found = shown(operation)
        assert {name: found[name] for name in module.FIELDS} == {n: getattr(operation, n) for n in module.FIELDS}
        assert found["completed"] == operation.completed


def test_an_older_writer_cannot_overwrite_what_is_newer(redis: Redis) -> None:
    subscriptions = fleet(apps=1, each=2)
    operation = bulk.start(RETRY, ASKER)
    old = module._row(operation.id)
    assert old is not None
    work(subscriptions)
    module._write(redis, operation.id, old)
    assert (shown(operation)["status"], shown(operation)["succeeded"]) == ("finished", 2)


def test_it_is_written_whole_and_has_an_end(redis: Redis) -> None:
    fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    redis.hset(key(operation.id), mapping={"stray": "1", "version": "0"})
    publish(operation.id)
    assert set(redis.hgetall(key(operation.id))) == set(module.FIELDS)
    assert 0 < redis.ttl(key(operation.id)) <= module.TTL_SECONDS


def test_a_hundred_readers_of_a_missing_hash_cost_few_queries(redis: Redis) -> None:
    fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    redis.flushdb()
    statements: list[str] = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if "syncsvc_operation" in sql:
            statements.append(sql)
        return execute(sql, params, many, context)

    def count_there(connection: BaseDatabaseWrapper, **_: object) -> None:
        connection.execute_wrappers.append(count)

    connection_created.connect(count_there)
    try:
        found = in_threads(lambda _: progress(operation.id), 100)
    finally:
        connection_created.disconnect(count_there)

    assert {one["total"] if one else None for one in found} == {1}
    assert 1 <= len(statements) <= 5


def test_a_hash_that_is_there_costs_no_query(django_assert_num_queries: Any) -> None:
    fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    with django_assert_num_queries(0):
        progress(operation.id)


def test_without_redis_it_comes_from_the_row_and_at_once(settings: Settings) -> None:
    subscriptions = fleet(apps=1, each=2)
    operation = bulk.start(RETRY, ASKER)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    began = time.monotonic()
    assert shown(operation)["waiting"] == 2
    assert time.monotonic() - began < TIMEOUT_SECONDS
    job = claim(subscriptions[0].id)
    assert job is not None
    end(job, SYNCED)
    assert (shown(operation)["succeeded"], shown(operation)["items_per_second"]) == (1, None)


def test_what_a_worker_that_died_did_not_write_is_written_by_the_sweep(redis: Redis) -> None:
    """It settles the last item, and is killed before it writes the progress: nobody else would."""
    subscriptions = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    stale = redis.hgetall(key(operation.id))
    work(subscriptions)
    redis.delete(key(operation.id))
    redis.hset(key(operation.id), mapping=stale)
    assert shown(operation)["status"] == "running"
    sweep_operations()
    assert shown(operation)["status"] == "finished"


def test_the_last_minute_gives_the_pace_and_an_estimate(redis: Redis) -> None:
    subscriptions = fleet(apps=1, each=10)
    operation = bulk.start(RETRY, ASKER)
    now = int(redis.time()[0])
    redis.delete(f"{key(operation.id)}:pace")
    redis.zadd(f"{key(operation.id)}:pace", {f"{now - 90}:0:0": now - 90, f"{now - 10}:0:0": now - 10})
    for subscription in subscriptions[:4]:
        run(subscription.id)
    time.sleep(1.1)
    publish(operation.id)
    found = shown(operation)
    assert found["items_per_second"] is not None
    assert 0.2 <= found["items_per_second"] <= 0.4
    assert 15 <= found["seconds_left"] <= 30


def test_failures_are_grouped_by_kind_with_one_message_each() -> None:
    subscriptions = fleet(apps=1, each=3)
    operation = bulk.start(RETRY, ASKER)
    for subscription in subscriptions[:2]:
        run(subscription.id, FAILED)
    run(subscriptions[2].id)
    assert errors_by_kind(operation.id) == [
        {"error_kind": "git_not_found", "count": 2, "example": errors_by_kind(operation.id)[0]["example"]}
    ]
    assert errors_by_kind(operation.id)[0]["example"].startswith("There is no such repository.")


def test_readers_never_see_a_sum_that_does_not_add_up_or_goes_back() -> None:
    subscriptions = fleet(apps=2, each=10)
    operation = bulk.start(RETRY, ASKER)
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(shown(operation))
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    in_threads(lambda n: [run(s.id, FAILED if n else SYNCED) for s in subscriptions[n::4]], 4)
    ended.set()
    reader.join(20)
    assert all(s["completed"] + s["waiting"] + s["running"] == s["total"] for s in seen)
    assert [s["version"] for s in seen] == sorted(s["version"] for s in seen)
    assert shown(operation)["completed"] == 20
