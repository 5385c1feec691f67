"""Whether the parts of the system are there: what `status`, /readyz and the console show."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypedDict, cast

import psycopg
from django.conf import settings
from django.db import connection
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

BEAT_KEY, BEAT_SECONDS = "syncsvc:beat", 30
TROUBLE_KEY = "syncsvc:worker-trouble"
WORKERS_KEY, WORKER_SECONDS = "syncsvc:workers", 60
TIMEOUT_SECONDS = 2

# Redis's own clock, so that workers whose clocks differ are judged alike.
_SEEN = """local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if ARGV[3] == '' then redis.call('HDEL', KEYS[2], ARGV[1]) else redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
redis.call('EXPIRE', KEYS[2], ARGV[2])"""
_COUNT = "return redis.call('ZCOUNT', KEYS[1], tonumber(redis.call('TIME')[1]) - ARGV[1], '+inf')"


class Trouble(TypedDict):
    """What is wrong with a worker: `kind` is disk or crash."""

    kind: str
    text: str


class Health(TypedDict):
    """`scheduler`: seen in the last 30 s; `workers`: processes seen in the last 60 s.

    `trouble` is what is wrong with workers, by their names: a disk that they cannot write to, a failure outside a run.
    """

    database: bool
    redis: bool
    scheduler: bool
    workers: int
    trouble: dict[str, Trouble]


class Worker(NamedTuple):
    """A worker process, and how many seconds ago it was seen."""

    name: str
    seconds: int


class Alive(NamedTuple):
    """What Redis knows: seconds since the scheduler was seen (None: not lately), workers, messages of each queue.

    `trouble` is what is wrong with workers, by their names.
    """

    scheduler: int | None
    workers: list[Worker]
    messages: list[int]
    trouble: dict[str, Trouble]


def health() -> Health:
    """Never raises; takes 2 s for each server that does not answer."""
    answer = _redis_answer()
    scheduler, workers, trouble = answer or (False, 0, {})
    return {
        "database": database_answers(),
        "redis": answer is not None,
        "scheduler": scheduler,
        "workers": workers,
        "trouble": trouble,
    }


def alive(queues: Sequence[str] = ()) -> Alive | None:
    """None where Redis does not answer."""
    try:
        pipeline = redis_at(settings.REDIS_URL).pipeline(transaction=False)
        pipeline.ttl(BEAT_KEY)
        pipeline.time()
        pipeline.zrange(WORKERS_KEY, 0, -1, withscores=True)
        pipeline.hgetall(TROUBLE_KEY)
        for queue in queues:
            pipeline.llen(queue)
        beat, (now, _), workers, trouble, *messages = pipeline.execute()
    except (RedisError, OSError):
        return None
    seen = [Worker(name.decode(), max(0, int(now - at))) for name, at in cast("list[tuple[bytes, float]]", workers)]
    scheduler = BEAT_SECONDS - int(beat) if beat > 0 else None
    workers_seen = sorted(worker for worker in seen if worker.seconds <= WORKER_SECONDS)
    return Alive(scheduler, workers_seen, [int(n) for n in messages], _troubles(trouble))


def beat_seen() -> None:
    """Called by the scheduler at each sweep. A Redis that is away is shown by `health`, and is no error here."""
    _forgiving(lambda redis: redis.set(BEAT_KEY, int(time.time()), ex=BEAT_SECONDS))


def worker_seen(name: str, *, disk: str = "", crash: str = "") -> None:
    """Called by each worker process every few seconds; `name` is its own among all machines.

    `disk` and `crash` are what is wrong with it, for operators; blank: nothing.
    """
    trouble = f"disk {disk[:500]}" if disk else f"crash {crash[:500]}" if crash else ""
    _forgiving(lambda redis: redis.eval(_SEEN, 2, WORKERS_KEY, TROUBLE_KEY, name, WORKER_SECONDS, trouble))


def database_answers() -> bool:
    """Logs in on a connection of its own: the pool would wait for 10 s, or give one that was open before."""
    parameters = connection.get_connection_params()
    wanted = {key: parameters[key] for key in ("dbname", "user", "password", "host", "port") if key in parameters}
    try:
        psycopg.connect(**wanted, connect_timeout=TIMEOUT_SECONDS).close()
    except psycopg.Error:
        return False
    return True


def redis_answers() -> bool:
    return _redis_answer() is not None


def _redis_answer() -> tuple[bool, int, dict[str, Trouble]] | None:
    try:
        pipeline = redis_at(settings.REDIS_URL).pipeline(transaction=False)
        pipeline.exists(BEAT_KEY)
        pipeline.eval(_COUNT, 1, WORKERS_KEY, WORKER_SECONDS)
        pipeline.hgetall(TROUBLE_KEY)
        seen, workers, trouble = pipeline.execute()
    except (RedisError, OSError):
        return None
    return bool(seen), int(workers), _troubles(trouble)


def _troubles(found: dict[bytes, bytes]) -> dict[str, Trouble]:
    pairs = {name.decode(): text.decode().partition(" ") for name, text in found.items()}
    return {name: Trouble(kind=kind, text=text) for name, (kind, _, text) in pairs.items()}


def _forgiving(call: Callable[[Redis], object]) -> None:
    try:
        call(redis_at(settings.REDIS_URL))
    except (RedisError, OSError):
        return


@lru_cache(maxsize=4)
def redis_at(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
