"""Whoever can write to Redis can make us forget what is kept there; they cannot make us believe, run or fail."""

import pickle
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends.cached_db import SessionStore
from django.core.cache import caches
from django.test import Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from redis import Redis

from syncsvc.admin import kept
from syncsvc.operations.progress import FIELDS, key, progress
from syncsvc.sealing import END, MOST_BYTES, SEAL_BYTES, SKEW_SECONDS, number, opened, sealed
from syncsvc.sync.begun import BegunFiles
from syncsvc.sync.health import BEAT_KEY, TROUBLE_KEY, WORKERS_KEY, alive, health
from syncsvc.sync.present_pace import present_pace
from syncsvc.sync.preview import known_preview, previewed
from syncsvc.sync.rate import Rate
from syncsvc.types import Change, ChangeKind
from tests.factories import OperationFactory, SubscriptionFactory

CHANGE = Change(ChangeKind.CREATED, b"big", "100644", "ab" * 20, 99, None, str(uuid.uuid4()))
TOUCHED: list[str] = []


def touch(value: str) -> None:
    TOUCHED.append(value)


class Bomb:
    def __reduce__(self) -> Any:
        return touch, ("unpickled",)


BOMB = pickle.dumps(Bomb())
VALUES = [
    *(b"", b"0", b"-1", b"1e9", b"nan", b"inf", b"9" * 5000, b"\xff\xfe\x00", b"[" * 10_000, b"null", b"{}", b"true"),
    *(BOMB, pickle.dumps({"_auth_user_id": "1"}), b'{"_auth_user_id": "1"}', b"<script>", "é²٣".encode(), b"1:2:3"),
    *(b"a" * 31, b"a" * 32, b"\x00" * 40, b"9" * 15, b"1:9:1.0:", b"disk " + b"x" * 5000),
    b"x" * (MOST_BYTES + 1),
]
PUT: list[Callable[[Redis, str, bytes], Any]] = [
    lambda redis, name, value: redis.set(name, value),
    lambda redis, name, value: redis.hset(name, mapping=dict.fromkeys((*FIELDS, value), value)),
    lambda redis, name, value: redis.zadd(name, {value: float("inf"), b"other": float("-inf"), b"third": 1e300}),
    lambda redis, name, value: redis.rpush(name, value),
    lambda redis, name, value: redis.sadd(name, value),
]


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
        yield client
        client.flushdb()


class Readers:
    """Everything that reads Redis, each with what it gives where there is nothing."""

    def __init__(self, user: Any) -> None:
        self.operation, self.subscription = OperationFactory(), SubscriptionFactory()
        self.app = self.subscription.app.id
        store = SessionStore()
        store["a"] = 1
        store.save()
        self.session, self.client = store, Client()
        self.client.force_login(user)
        self.permissions = f":1:sees:{user.pk}"
        preview = f":1:preview:{self.subscription.id}"
        self.keys = [
            *(f":1:{store.cache_key}", preview, f"{preview}:1", self.permissions, kept.PREFIX + "name"),
            *(key(self.operation.id), f"{key(self.operation.id)}:pace", f"pace:{self.app}", BEAT_KEY),
            *(WORKERS_KEY, TROUBLE_KEY, "logins:1:axes", ":1:counted", BegunFiles("a", part_bytes=9)._key(CHANGE)),
            *(kept.PREFIX + name for name in ("overview", "overview-no-operations")),
        ]

    def read(self) -> None:
        assert dict(SessionStore(self.session.session_key).items()) == {"a": 1}
        assert known_preview(self.subscription.id) is None
        assert previewed(self.subscription.id, 1) == []
        assert kept.known("name") is None
        assert kept.kept("name", lambda: "made") == "made"
        kept.forget("name")
        found = progress(self.operation.id)
        assert found is not None
        assert found["total"] == self.operation.total
        present_pace(self.app)
        assert caches["logins"].get("axes", 0) in (0, 999_999_999_999_999)
        assert isinstance(BegunFiles("a", part_bytes=9).next_part(CHANGE), int)
        state = alive(["live.0"])
        assert state is not None
        assert all(len(worker.name) <= 300 for worker in state.workers)
        assert health()["database"]
        for page in ("/admin/", "/admin/?part=now", "/admin/queue/"):
            answer = self.client.get(page)
            assert answer.status_code == 200
            assert "<script>x" not in answer.text
        assert TOUCHED == []


@pytest.mark.parametrize("put", PUT, ids=["text", "hash", "sorted set", "list", "set"])
@pytest.mark.django_db
def test_hostile_values_of_every_type_are_as_good_as_none(
    put: Callable[[Redis, str, bytes], Any], redis: Redis, admin_user: Any
) -> None:
    readers = Readers(admin_user)
    for value in VALUES if put is PUT[0] else VALUES[-5:-1]:
        redis.flushdb()
        for name in readers.keys:
            put(redis, name, value)
        readers.read()


@hypothesis_settings(max_examples=40)
@given(key=st.text(), text=st.text(), other=st.text(), value=st.binary(max_size=99))
def test_a_value_is_opened_under_the_key_that_it_was_sealed_for_and_no_other(
    key: str, text: str, other: str, value: bytes
) -> None:
    found = sealed(key, text, seconds=60)
    assert opened(key, found) == text
    assert opened(other, found) == (text if other == key else None)
    assert opened(key, value) is None
    assert opened(key, found + b"x") is None
    assert opened(key, found[:-1]) is None


def test_another_secret_key_opens_nothing(settings: Settings) -> None:
    value = sealed("key", "text", seconds=None)
    settings.SECRET_KEY = "another"
    assert opened("key", value) is None


@pytest.mark.parametrize("value", [b"9" * 400, b"1e300", b"nan", b"inf", b"-inf", b"x", b"", b"9" * 18, BOMB])
def test_no_value_keeps_an_app_from_its_requests(redis: Redis, value: bytes) -> None:
    redis.set("rate:app", value)
    assert Rate().take("app", 10) < 1
    assert 0 < redis.ttl("rate:app") <= 60


def test_a_value_that_is_over_cannot_be_put_back(redis: Redis) -> None:
    """A session that has ended, a permission that was taken."""
    over = -SKEW_SECONDS - 2
    assert opened("key", sealed("key", "text", seconds=over)) is None
    assert opened("key", sealed("key", "text", seconds=over + 10)) == "text"
    for name in ("default", "sessions"):
        cache = caches[name]
        cache.set("over", {"a": 1}, 60)
        assert cache.get("over") == {"a": 1}
        kept_value = redis.get(cache.make_key("over"))
        assert isinstance(kept_value, bytes)
        (end,) = END.unpack_from(kept_value, SEAL_BYTES)
        assert 0 < end - time.time() <= 62


@given(st.one_of(st.binary(), st.text(), st.integers(), st.none(), st.integers(min_value=0).map(str)))
def test_a_number_is_a_short_row_of_digits(value: object) -> None:
    found = number(value)
    assert found is None or 0 <= found < 10**15
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        assert found == int(value)


@hypothesis_settings(max_examples=40)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_the_cache_gives_back_what_was_put_there(value: Any) -> None:
    cache = caches["default"]
    cache.set("value", value)
    assert cache.get("value", "none") == value
    cache.delete("value")
    assert cache.get("value", "none") == "none"


def test_a_value_that_is_too_long_is_not_kept(redis: Redis) -> None:
    cache = caches["default"]
    cache.set("value", "short")
    cache.set("value", "x" * MOST_BYTES)
    assert cache.get("value") is None


def test_no_cache_unpickles(settings: Settings) -> None:
    for name in settings.CACHES:
        cache = caches[name]
        for value in (BOMB, b"\x80\x04N."):
            with Redis.from_url(settings.REDIS_URL) as client:
                client.set(cache.make_key("bomb"), value)
            assert cache.get("bomb", "none") == "none", name
    assert TOUCHED == []
