"""The cache in Redis, which may be gone: sessions fall back to the database then."""

from collections.abc import Callable
from typing import Any

import structlog
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)


class ForgivingRedisCache(RedisCache):
    """Reads as empty and drops writes while Redis is away."""

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
            logger.warning("cache.unavailable", error=type(error).__name__)
            return otherwise
