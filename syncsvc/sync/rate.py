"""A limit of requests a second that is agreed with an app: kept over all workers together, by a bucket in Redis.

Permits come in small batches, a twentieth of a second's worth, so that Redis is asked twenty times a second at most.
Where Redis is away each process keeps to the limit by itself: N worker processes then send at most N times as much.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from syncsvc.redis_connections import redis_at

logger = structlog.get_logger(__name__)

# A batch is this part of a second's permits.
BATCHES_A_SECOND = 20
# A bucket holds the permits of so many seconds, and at least so many batches: workers that ask late by as much as that
# but for one batch lose nothing of the rate.
BUCKET_SECONDS, BUCKET_BATCHES = 0.2, 2
# Permits that nobody has used for so long are worth nothing: a burst must not follow a pause.
KEPT_SECONDS = 0.2
TIMEOUT_SECONDS = 0.5
# A Redis that did not answer is not asked again for so long.
AWAY_SECONDS = 10.0

# The generic cell rate algorithm: the key holds the time (microseconds) up to which permits have been granted, which
# each permit moves on by 1/limit, and which may be ahead of the clock by the whole bucket. A batch is granted whole or
# not at all. Answers 0 where it was granted, else microseconds until it will be. No bucket reaches ten seconds ahead: a
# value that does is none of ours.
GRANT = """
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local batch, bucket = tonumber(ARGV[1]), tonumber(ARGV[2])
local granted = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if not (granted <= at + 10000000) then granted = 0 end
local due = math.max(granted, at) + batch
if due > at + bucket then return math.ceil(due - at - bucket) end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', 60000)
return 0
"""


@dataclass(slots=True)
class _Permits:
    """Granted to this process and not used yet; `due` is that of the bucket that is kept here while Redis is away."""

    left: int = 0
    granted_at: float = 0.0
    wait_until: float = 0.0
    due: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Rate:
    """Permits of this process, by app. Thread-safe; times are in seconds, and `clock` gives them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._permits: dict[str, _Permits] = {}
        self._lock = threading.Lock()
        self._away_until = 0.0

    def take(self, app: str, per_second: int) -> float:
        """Takes a permit for one request: 0 where there is one, else the seconds until the next may be had."""
        with self._lock:
            permits = self._permits.setdefault(app, _Permits())
        with permits.lock:
            now = self._clock()
            if permits.left and now - permits.granted_at > KEPT_SECONDS:
                permits.left = 0
            if not permits.left:
                if now < permits.wait_until:
                    return permits.wait_until - now
                batch = max(1, per_second // BATCHES_A_SECOND)
                if wait := self._grant(app, batch / per_second, permits):
                    permits.wait_until = self._clock() + wait
                    return wait
                permits.left, permits.granted_at = batch, self._clock()
            permits.left -= 1
            return 0.0

    def _grant(self, app: str, seconds: float, permits: _Permits) -> float:
        """Has a batch, which is worth so many seconds, granted: 0, else the seconds until it may be had."""
        bucket = max(BUCKET_SECONDS, BUCKET_BATCHES * seconds)
        if self._clock() >= self._away_until:
            try:
                arguments = (1, f"rate:{app}", seconds * 1_000_000, bucket * 1_000_000)
                redis = redis_at(settings.REDIS_URL, timeout=TIMEOUT_SECONDS)
                return cast(int, redis.eval(GRANT, *arguments)) / 1_000_000
            except (RedisError, OSError) as error:
                logger.warning("rate.redis_away", error=type(error).__name__)
                self._away_until = self._clock() + AWAY_SECONDS
        now = self._clock()
        due = max(permits.due, now) + seconds
        wait = due - now - bucket
        if wait > 1e-6:
            return wait
        permits.due = due
        return 0.0


RATE = Rate()
