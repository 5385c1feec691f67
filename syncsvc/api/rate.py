"""How many requests that change something a caller may send in a minute."""

import time

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from ninja.throttling import BaseThrottle
from redis.exceptions import RedisError

from syncsvc.api.callers import caller_of

MINUTE = 60
SAFE = {"GET", "HEAD", "OPTIONS"}


class PerMinute(BaseThrottle):
    """Counts in Redis, for all web processes together; while Redis is away nobody is held up."""

    def allow_request(self, request: HttpRequest) -> bool:
        if request.method in SAFE:
            return True
        return _count(f"api:{caller_of(request).key}:{int(time.time()) // MINUTE}") <= settings.API_CALLS_PER_MINUTE

    def wait(self) -> float:
        """Seconds until the next minute begins."""
        return MINUTE - time.time() % MINUTE


def _count(key: str) -> int:
    counts = caches["counts"]
    counts.add(key, 0, timeout=2 * MINUTE)
    try:
        return counts.incr(key)
    except (RedisError, ValueError):  # ValueError: there is no such key, because nothing was written
        return 0
