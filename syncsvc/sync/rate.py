"""A limit of requests a second that is agreed with an app: kept over all workers together, by a bucket in Redis.

Permits come in small batches, a twentieth of a second's worth, so that Redis is asked twenty times a second at most.
Where Redis is away each process keeps to the limit by itself: N worker processes then send at most N times as much.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import cast

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from syncsvc.redis_connections import redis_at

logger = structlog.get_logger(__name__)

# A batch is this part of a second's permits.
BATCHES_A_SECOND = 20
# Permits that nobody has used for so long are worth nothing: a burst must not follow a pause.
KEPT_SECONDS = 0.2
TIMEOUT_SECONDS = 0.5
# A Redis that did not answer is not asked again for so long.
AWAY_SECONDS = 1.0

# The generic cell rate algorithm: the key holds the time at which the next permit is due (microseconds), which each
# permit moves on by 1/limit. Permits for at most a batch may be had ahead of time. Answers how many were granted, and
# microseconds until the next one.
GRANT = """
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local interval, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), at)
local granted = math.min(wanted, math.floor((at + wanted * interval - due) / interval + 0.001))
if granted < 1 then return {0, math.ceil(due - at - (wanted - 1) * interval)} end
redis.call('SET', KEYS[1], string.format('%.0f', due + granted * interval), 'PX', 60000)
return {granted, 0}
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
    """Permits of this process, by app. Thread-safe; times are in seconds."""

    def __init__(self) -> None:
        self._permits: dict[str, _Permits] = {}
        self._lock = threading.Lock()
        self._away_until = 0.0

    def take(self, app: str, per_second: int) -> float:
        """Takes a permit for one request: 0 where there is one, else the seconds until the next may be had."""
        with self._lock:
            permits = self._permits.setdefault(app, _Permits())
        with permits.lock:
            now = time.monotonic()
            if permits.left and now - permits.granted_at > KEPT_SECONDS:
                permits.left = 0
            if not permits.left:
                if now < permits.wait_until:
                    return permits.wait_until - now
                granted, wait = self._grant(app, per_second, permits, now)
                if not granted:
                    permits.wait_until = now + wait
                    return wait
                permits.left, permits.granted_at = granted, now
            permits.left -= 1
            return 0.0

    def _grant(self, app: str, per_second: int, permits: _Permits, now: float) -> tuple[int, float]:
        wanted = max(1, per_second // BATCHES_A_SECOND)
        if now >= self._away_until:
            try:
                arguments = (1, f"rate:{app}", 1_000_000 / per_second, wanted)
                granted, micros = cast(
                    "list[int]", redis_at(settings.REDIS_URL, timeout=TIMEOUT_SECONDS).eval(GRANT, *arguments)
                )
                return granted, max(micros / 1_000_000, 0.001)
            except (RedisError, OSError) as error:
                logger.warning("rate.redis_away", error=type(error).__name__)
                self._away_until = now + AWAY_SECONDS
        return _granted_here(per_second, wanted, permits, now)


def _granted_here(per_second: int, wanted: int, permits: _Permits, now: float) -> tuple[int, float]:
    interval = 1 / per_second
    due = max(permits.due, now)
    granted = min(wanted, int((now + wanted * interval - due) / interval + 0.001))
    if granted < 1:
        return 0, max(due - now - (wanted - 1) * interval, 0.001)
    permits.due = due + granted * interval
    return granted, 0.0


RATE = Rate()
