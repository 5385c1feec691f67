"""Live progress: a Redis hash per operation, written whole and versioned; the row where Redis is away."""

import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import structlog
from django.conf import settings
from django.db.models import Count
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from syncsvc.models import Operation, OperationItem

logger = structlog.get_logger(__name__)

COUNTS = ("total", "waiting", "running", "succeeded", "failed", "skipped", "cancelled", "files", "version")
FIELDS = ("kind", "status", *COUNTS)
TTL_SECONDS = 3600
TIMEOUT_SECONDS = 1
# The last minute's pace is what an estimate is made of.
PACE_SECONDS = 60

# Whole, or not at all: a writer that was overtaken keeps the higher version. Samples of a minute give the pace.
WRITE = """
local known = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
local version = tonumber(ARGV[2])
if version > known then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], unpack(ARGV, 4))
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
local now = redis.call('TIME')
local second = tonumber(now[1])
redis.call('ZADD', KEYS[2], 'NX', second, second .. ':' .. ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', second - 60)
redis.call('EXPIRE', KEYS[2], 120)
"""


def key(operation_id: uuid.UUID) -> str:
    return f"operation:{operation_id}"


def publish(operation_id: uuid.UUID) -> dict[str, Any] | None:
    """Writes the row's counts to Redis; what they are, None where there is no such operation."""
    row: dict[str, Any] | None = Operation.objects.filter(id=operation_id).values(*FIELDS).first()
    if row is not None:
        _forgiving(lambda redis: _write(redis, operation_id, row))
    return row


def progress(operation_id: uuid.UUID) -> dict[str, Any] | None:
    """The counts with `completed`, and `items_per_second`, `files_per_second`, `seconds_left` where they are known.

    From Redis; where the hash is missing it is written anew from the row, by one of many readers; where Redis is away,
    from the row. None where there is no such operation.
    """
    counts = _forgiving(lambda redis: _read(redis, operation_id)) or _from_row(operation_id)
    if counts is None:
        return None
    completed = sum(counts[name] for name in ("succeeded", "failed", "skipped", "cancelled"))
    return {**counts, "operation_id": str(operation_id), "completed": completed, **_pace(operation_id, counts)}


def errors_by_kind(operation_id: uuid.UUID) -> list[dict[str, Any]]:
    """How many items failed of which kind, most first, each with one message."""
    failed = OperationItem.objects.filter(operation_id=operation_id, status=OperationItem.Status.FAILED)
    kinds = failed.order_by().values("error_kind").annotate(count=Count("id")).order_by("-count")
    examples = {row["error_kind"]: row["reason"] for row in failed.values("error_kind", "reason").order_by("id")[:500]}
    return [{**row, "example": examples.get(row["error_kind"], "")} for row in kinds]


def _from_row(operation_id: uuid.UUID) -> dict[str, Any] | None:
    """Single flight: a reader that finds another at it waits a moment for what that one writes."""
    lock = _forgiving(lambda redis: redis.set(f"{key(operation_id)}:lock", 1, nx=True, px=500))
    if lock is None and (found := _wait_for(operation_id)):
        return found
    return publish(operation_id)


def _wait_for(operation_id: uuid.UUID) -> dict[str, Any] | None:
    for _ in range(5):
        time.sleep(0.05)
        if found := _forgiving(lambda redis: _read(redis, operation_id)):
            return found
    return None


def _read(redis: Redis, operation_id: uuid.UUID) -> dict[str, Any] | None:
    values = cast("dict[str, str]", redis.hgetall(key(operation_id)))
    if set(values) != set(FIELDS):
        return None
    return {name: int(value) if name in COUNTS else value for name, value in values.items()}


def _write(redis: Redis, operation_id: uuid.UUID, row: dict[str, Any]) -> None:
    flat = [part for name in FIELDS for part in (name, str(row[name]))]
    done = row["total"] - row["waiting"] - row["running"]
    sample = f"{done}:{row['files']}"
    redis.eval(WRITE, 2, key(operation_id), f"{key(operation_id)}:pace", TTL_SECONDS, row["version"], sample, *flat)


def _pace(operation_id: uuid.UUID, counts: dict[str, Any]) -> dict[str, float | None]:
    found = _forgiving(lambda redis: redis.zrange(f"{key(operation_id)}:pace", 0, -1)) or []
    points = [tuple(int(part) for part in sample.split(":")) for sample in cast("list[str]", found)]
    nothing: dict[str, float | None] = {"items_per_second": None, "files_per_second": None, "seconds_left": None}
    if len(points) < 2 or points[-1][0] == points[0][0]:
        return nothing
    (began, items, files), (ended, items_now, files_now) = points[0], points[-1]
    seconds = ended - began
    items_per_second = (items_now - items) / seconds
    left = counts["waiting"] + counts["running"]
    return {
        "items_per_second": round(items_per_second, 2),
        "files_per_second": round((files_now - files) / seconds, 2),
        "seconds_left": round(left / items_per_second, 1) if items_per_second > 0 else None,
    }


def _forgiving[T](call: Callable[[Redis], T]) -> T | None:
    try:
        return call(_redis(settings.REDIS_URL))
    except (RedisError, OSError) as error:
        logger.warning("progress.redis_away", error=type(error).__name__)
        return None


@lru_cache(maxsize=4)
def _redis(url: str) -> Redis:
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=retry,
    )
