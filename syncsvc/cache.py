"""Caches in Redis, which may be gone or take no writes: sessions are in the database too, and counting goes on here.

Values are JSON under a seal; Django's own cache would unpickle them, and run what whoever can write to Redis put there.
"""

import json
import math
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

from syncsvc.redis_connections import refusal
from syncsvc.sealing import MOST_BYTES, number, opened, sealed

logger = structlog.get_logger(__name__)


class SealedClient(RedisCacheClient):
    """Stores JSON under a seal; what is not sealed, or too long, reads as missing. Counting is for `CountsClient`."""

    def get(self, key: Any, default: Any) -> Any:
        text = opened(key, self.get_client(key).getrange(key, 0, MOST_BYTES))
        return default if text is None else json.loads(text)

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        return bool(self.get_client(key, write=True).set(key, self._packed(key, value, timeout), ex=timeout, nx=True))

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        packed = self._packed(key, value, timeout)
        if timeout == 0 or len(packed) > MOST_BYTES:
            self.delete(key)
        else:
            self.get_client(key, write=True).set(key, packed, ex=timeout)

    def _packed(self, key: str, value: Any, timeout: float | None) -> bytes:
        return sealed(key, json.dumps(value), seconds=timeout)

    def _not_here(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Values are sealed one by one; numbers are counted in the cache `counts`.")

    get_many = set_many = incr = _not_here


class CountsClient(SealedClient):
    """Whole numbers, as Redis counts them; anything else reads as missing."""

    def get(self, key: Any, default: Any) -> Any:
        found = number(self.get_client(key).getrange(key, 0, 15))
        return default if found is None else found

    def incr(self, key: Any, delta: int) -> Any:
        return RedisCacheClient.incr(self, key, delta)

    def _packed(self, key: str, value: Any, timeout: float | None) -> bytes:
        return b"%d" % value


class ForgivingRedisCache(RedisCache):
    """Reads as empty while Redis is away, and drops writes that it does not take."""

    CLIENT: type[SealedClient] = SealedClient

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = self.CLIENT

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._try(lambda: super(ForgivingRedisCache, self).get(key, default, version), default)

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        self._try(lambda: super(ForgivingRedisCache, self).set(key, value, *args, **kwargs), None)

    def add(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> bool:
        return bool(self._try(lambda: super(ForgivingRedisCache, self).add(key, value, *args, **kwargs), False))

    def delete(self, key: Any, version: int | None = None) -> bool:
        return bool(self._try(lambda: super(ForgivingRedisCache, self).delete(key, version), False))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return bool(self._try(lambda: super(ForgivingRedisCache, self).has_key(key, version), False))

    def _try(self, call: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return call()
        except RedisError as error:
            _log(error)
            return otherwise


class SessionCopies(ForgivingRedisCache):
    """Copies of sessions, which are in the database, for COPY_SECONDS at most.

    A Redis that refuses writes may still be read, and then has the copy of a session that was ended or changed since.
    """

    COPY_SECONDS = 60

    def set(self, key: Any, value: Any, timeout: Any = COPY_SECONDS, version: int | None = None) -> None:
        try:
            RedisCache.set(self, key, value, min(timeout, self.COPY_SECONDS), version)
        except RedisError as error:
            _log(error)
            if refusal(error):  # a Redis whose memory is full can still delete
                self.delete(key, version)


class Counts(ForgivingRedisCache):
    """Whole numbers that processes count together; `incr` raises where Redis is away."""

    CLIENT = CountsClient


class FailedLoginsCache(RedisCache):
    """Counts of failed logins, which no outage may end: where Redis takes no count each process counts by itself.

    Nobody is locked out by the outage, and nobody may guess on: a process still stops at the limit. What is counted
    here counts beside what a Redis that can only be read has from before.
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = CountsClient
        self._here = LocMemCache("failed-logins", {**params, "OPTIONS": {"MAX_ENTRIES": 100_000}})

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        try:
            there = super().get(key, None, version)
        except RedisError as error:
            _log(error)
            there = None
        counts = [count for count in (there, self._here.get(key, None, version)) if count is not None]
        return max(counts) if counts else default

    def add(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> bool:
        there = super().add
        return bool(
            self._try(lambda: there(key, value, *args, **kwargs), lambda: self._here.add(key, value, *args, **kwargs))
        )

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        try:
            return int(super().incr(key, delta, version))
        except RedisError as error:
            _log(error)
        except ValueError:  # it ended meanwhile, is counted here, or Redis came back after `add`
            if self._here.get(key, None, version) is None:
                self.add(key, delta, version=version)
                return delta
        try:
            return int(self._here.incr(key, delta, version))
        except ValueError:
            self._here.add(key, delta, version=version)
            return delta

    def touch(self, key: Any, *args: Any, **kwargs: Any) -> bool:
        there = super().touch
        return bool(self._try(lambda: there(key, *args, **kwargs), lambda: self._here.touch(key, *args, **kwargs)))

    def delete(self, key: Any, version: int | None = None) -> bool:
        there, here = super().delete, self._here.delete(key, version)
        return self._try(lambda: there(key, version), lambda: False) or here

    def seconds_left(self, key: Any) -> int:
        """Until the count ends, in whole seconds; 0 where there is none."""
        return max(self._seconds_left_here(key), self._try(lambda: self._seconds_left_there(key), lambda: 0))

    def _seconds_left_there(self, key: Any) -> int:
        name = self.make_and_validate_key(key)
        return max(0, math.ceil(self._cache.get_client(name).pttl(name) / 1000))

    def _seconds_left_here(self, key: Any) -> int:
        ends: float = self._here._expire_info.get(self._here.make_and_validate_key(key)) or 0  # type: ignore[attr-defined]
        return max(0, math.ceil(ends - time.time()))

    @staticmethod
    def _try[T](there: Callable[[], T], here: Callable[[], T]) -> T:
        """In Redis, or in this process where Redis does not take it."""
        try:
            return there()
        except RedisError as error:
            _log(error)
            return here()


def _log(error: RedisError) -> None:
    logger.warning("cache.unavailable", error=type(error).__name__)
