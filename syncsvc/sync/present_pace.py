"""The present pace of apps, for people to see: each worker process tells Redis, once a second while it runs anything.

Nothing depends on it. What is not told, because nothing runs or Redis is away, is not shown.
"""

import os
import re
import socket
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, cast

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from syncsvc.models import App
from syncsvc.redis_connections import redis_at
from syncsvc.sync.window import WINDOWS

logger = structlog.get_logger(__name__)

# Requests of the last seconds make the rate.
RATE_SECONDS = 5.0
# What a process told is true for so long, by Redis's clock: it tells anew each second.
TRUE_SECONDS = 4
TIMEOUT_SECONDS = 0.5
# A Redis that did not answer is told nothing for so long.
AWAY_SECONDS = 10.0

_TELL = """
local now = redis.call('TIME')[1]
for n, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[2], now .. ':' .. ARGV[n + 2])
  redis.call('EXPIRE', key, ARGV[1])
end
"""
# Of a hash that is much bigger than ours nothing is read.
_TOLD = """
if redis.call('HLEN', KEYS[1]) > 10000 then return {} end
local told = {}
for _, text in ipairs(redis.call('HVALS', KEYS[1])) do if #text <= 60 then told[#told + 1] = text end end
return told
"""
# When it was told, by Redis's clock, the requests at once, and those a second.
VALUE = re.compile(rb"(\d{1,15}):(\d{1,9}):(\d{1,9}\.\d)", re.ASCII)


class Run(Protocol):
    """A run that goes on: its app as it was seen last, None before the first look; its requests, and those told."""

    requests: int
    requests_told: int

    @property
    def app(self) -> App | None: ...


@dataclass(frozen=True, slots=True)
class PresentPace:
    """Requests that may be open at once, and requests a second: of all workers that send to the app, `workers`."""

    at_once: int
    per_second: float
    workers: int


class PaceTeller:
    """One a process, and one thread's. `clock` gives seconds."""

    def __init__(self, *, worker: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._worker = worker or f"{socket.gethostname()}:{os.getpid()}"
        self._clock = clock
        self._samples: deque[tuple[float, Counter[uuid.UUID]]] = deque()
        self._away_until = 0.0

    def tell(self, runs: Collection[Run]) -> None:
        """Told once a second, with all runs of the process that go on."""
        now, apps = self._clock(), {run.app.id: run.app for run in runs if run.app is not None}
        self._sample(now, runs)
        if not apps or now < self._away_until:
            return
        seconds = max(now - self._samples[0][0], 1.0)
        made = sum((requests for _, requests in list(self._samples)[1:]), Counter[uuid.UUID]())
        values = [
            f"{WINDOWS.width(str(a.id), limit=a.max_in_flight)}:{made[a.id] / seconds:.1f}" for a in apps.values()
        ]
        try:
            redis = redis_at(settings.REDIS_URL, timeout=TIMEOUT_SECONDS)
            redis.eval(_TELL, len(apps), *map(_key, apps), TRUE_SECONDS, self._worker, *values)
        except (RedisError, OSError) as error:
            logger.warning("pace.redis_away", error=type(error).__name__)
            self._away_until = now + AWAY_SECONDS

    def _sample(self, now: float, runs: Collection[Run]) -> None:
        made = Counter[uuid.UUID]()
        for run in runs:
            if run.app is not None:
                made[run.app.id] += run.requests - run.requests_told
                run.requests_told = run.requests
        self._samples.append((now, made))
        while now - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()


def present_pace(app_id: uuid.UUID) -> PresentPace | None:
    """None where nothing of the app is sent now, or nobody knows."""
    try:
        pipeline = redis_at(settings.REDIS_URL).pipeline(transaction=False)
        pipeline.time()
        pipeline.eval(_TOLD, 1, _key(app_id))
        (now, _), told = cast("tuple[tuple[int, int], list[bytes]]", pipeline.execute())
    except (RedisError, OSError):
        return None
    known = [
        (int(m[2]), float(m[3])) for text in told if (m := VALUE.fullmatch(text)) and now - int(m[1]) <= TRUE_SECONDS
    ]
    if not known:
        return None
    return PresentPace(sum(width for width, _ in known), sum(rate for _, rate in known), len(known))


def _key(app_id: uuid.UUID) -> str:
    return f"pace:{app_id}"


PACE = PaceTeller()
