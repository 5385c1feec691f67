"""Live progress: a Redis hash per operation, written whole and versioned; the row where Redis is away."""

import json
import time
import uuid
from collections.abc import Callable
from typing import TypedDict, cast

import structlog
from django.conf import settings
from django.db.models import Count
from redis import Redis
from redis.exceptions import RedisError

from syncsvc.models import Operation, OperationItem
from syncsvc.models.operation import OUTCOMES
from syncsvc.redis_connections import redis_at
from syncsvc.sealing import number

logger = structlog.get_logger(__name__)


class Numbers(TypedDict):
    """Items of an operation, all of them and by status; and the files that its runs delivered."""

    total: int
    waiting: int
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    files: int


class Counts(Numbers):
    """The columns of an operation that move."""

    kind: str
    status: str
    version: int


class Pace(TypedDict):
    """The last minute's pace; None where it is not known yet."""

    items_per_second: float | None
    files_per_second: float | None
    seconds_left: float | None


class Progress(Counts, Pace):
    """`completed`: items that have settled, whatever came of them."""

    operation_id: str
    completed: int


class ErrorCount(TypedDict):
    """How many items failed of one kind, and one of their messages."""

    error_kind: str
    count: int
    example: str


NUMBERS = tuple(Numbers.__annotations__)
FIELDS = tuple(Counts.__annotations__)
TEXTS = {"kind": Operation.Kind.values, "status": Operation.Status.values}
NO_PACE = Pace(items_per_second=None, files_per_second=None, seconds_left=None)
TTL_SECONDS = 3600
TIMEOUT_SECONDS = 1
# One reader reads the row for all that miss the hash.
LOCK_MILLISECONDS = 500
WAITS_FOR_WRITER = 10

# Whole, or not at all: a writer that was overtaken keeps the higher version. A minute's samples, one a second, give the
# pace.
WRITE = """
local known = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
local version = tonumber(ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
if version < known then return end
if version > known then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], unpack(cjson.decode(ARGV[4])))
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
local second = tonumber(redis.call('TIME')[1])
if redis.call('ZCOUNT', KEYS[2], second, second) == 0 then
  redis.call('ZADD', KEYS[2], second, second .. ':' .. ARGV[3])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', second - 60)
redis.call('EXPIRE', KEYS[2], 60)
"""


# Texts of a length that we write; one that is longer is as good as none. On a replica, whose hash nobody can write any
# more, SET is refused, and the row is read.
READ = """
redis.call('SET', KEYS[1] .. ':read', 1, 'EX', 1)
local found = {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('ZRANGE', KEYS[2], 0, 99)}
for _, texts in ipairs(found) do
  for _, text in ipairs(texts) do
    if text and #text > 60 then return {{}, {}} end
  end
end
return found
"""


def key(operation_id: uuid.UUID) -> str:
    return f"operation:{operation_id}"


def publish(operation_id: uuid.UUID, known: Operation | None = None) -> None:
    """Writes the row's counts to Redis; `known` is the row as it is, where that has just been read."""
    row = _counts_of(known) if known else _row(operation_id)
    if row is not None:
        _forgiving(lambda redis: _write(redis, operation_id, row))


def numbers_of(operation: Operation) -> Numbers:
    return cast("Numbers", {name: getattr(operation, name) for name in NUMBERS})


def progress_of(operation: Operation) -> Progress:
    """The progress that a row shows which has just been read; the pace is not on it."""
    return _shown(operation.pk, _counts_of(operation), NO_PACE)


def progress(operation_id: uuid.UUID) -> Progress | None:
    """The counts and the pace.

    From Redis; where the hash is missing it is written anew from the row, by one of many readers; where Redis is away,
    or takes no writes, from the row. None where there is no such operation.
    """
    found = _forgiving(lambda redis: _from_redis(redis, operation_id))
    counts, samples = found or (_row(operation_id), [])
    if counts is None:
        return None
    return _shown(operation_id, counts, _pace(counts, samples))


def errors_by_kind(operation_id: uuid.UUID) -> list[ErrorCount]:
    """How many items failed of which kind, most first, each with one message."""
    failed = OperationItem.objects.filter(operation_id=operation_id, status=OperationItem.Status.FAILED)
    kinds = failed.order_by().values("error_kind").annotate(count=Count("id")).order_by("-count")
    examples = {row["error_kind"]: row["reason"] for row in failed.values("error_kind", "reason").order_by("id")[:500]}
    return [ErrorCount(**row, example=examples.get(row["error_kind"], "")) for row in kinds]


def _shown(operation_id: uuid.UUID, counts: Counts, pace: Pace) -> Progress:
    completed = sum(counts[outcome] for outcome in OUTCOMES)
    return {**counts, **pace, "operation_id": str(operation_id), "completed": completed}


def _counts_of(operation: Operation) -> Counts:
    return cast("Counts", {name: getattr(operation, name) for name in FIELDS})


def _from_redis(redis: Redis, operation_id: uuid.UUID) -> tuple[Counts | None, list[str]]:
    counts, samples = _read(redis, operation_id)
    return counts or _written_anew(redis, operation_id), samples


def _written_anew(redis: Redis, operation_id: uuid.UUID) -> Counts | None:
    """Single flight: a reader that finds another at it waits for what that one writes, for a moment."""
    for _ in range(WAITS_FOR_WRITER):
        if redis.set(f"{key(operation_id)}:lock", 1, nx=True, px=LOCK_MILLISECONDS):
            break
        time.sleep(0.05)
        if found := _read(redis, operation_id)[0]:
            return found
    if (row := _row(operation_id)) is not None:
        _write(redis, operation_id, row)
    return row


def _row(operation_id: uuid.UUID) -> Counts | None:
    return cast("Counts | None", Operation.objects.filter(id=operation_id).values(*FIELDS).first())


def _read(redis: Redis, operation_id: uuid.UUID) -> tuple[Counts | None, list[str]]:
    """The counts, None where there are none or others than we write; and the samples of the last minute."""
    values, samples = cast(
        "tuple[list[str | None], list[str]]",
        redis.eval(READ, 2, key(operation_id), f"{key(operation_id)}:pace", *FIELDS),
    )
    return _counts(dict(zip(FIELDS, values, strict=False))), samples


def _counts(texts: dict[str, str | None]) -> Counts | None:
    values: dict[str, str | int | None] = {
        name: text if name in TEXTS and text in TEXTS[name] else number(text) for name, text in texts.items()
    }
    return cast("Counts", values) if values and None not in values.values() else None


def _write(redis: Redis, operation_id: uuid.UUID, row: Counts) -> None:
    # One argument instead of twenty-four: each is packed in Python.
    flat = json.dumps([part for name, value in row.items() for part in (name, str(value))])
    done = row["total"] - row["waiting"] - row["running"]
    sample = f"{done}:{row['files']}"
    redis.eval(WRITE, 2, key(operation_id), f"{key(operation_id)}:pace", TTL_SECONDS, row["version"], sample, flat)


def _pace(counts: Counts, samples: list[str]) -> Pace:
    points = [point for sample in samples if (point := _point(sample))]
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return NO_PACE
    (began, items, files), (ended, items_now, files_now) = points[0], points[-1]
    seconds = ended - began
    items_per_second = (items_now - items) / seconds
    left = counts["waiting"] + counts["running"]
    return {
        "items_per_second": round(items_per_second, 2),
        "files_per_second": round((files_now - files) / seconds, 2),
        "seconds_left": round(left / items_per_second, 1) if items_per_second > 0 else None,
    }


def _point(sample: str) -> tuple[int, int, int] | None:
    """Second, items done and files of a sample; None where it is not one of ours."""
    parts = [number(part) for part in sample.split(":")]
    match parts:
        case [int(second), int(items), int(files)]:
            return second, items, files
    return None


def _forgiving[T](call: Callable[[Redis], T]) -> T | None:
    try:
        return call(redis_at(settings.REDIS_URL, timeout=TIMEOUT_SECONDS, as_text=True))
    except (RedisError, OSError) as error:
        logger.warning("progress.redis_away", error=type(error).__name__)
        return None
