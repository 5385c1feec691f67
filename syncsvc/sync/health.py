"""Whether the parts of the system are there: what `status`, /readyz and the console show."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import psycopg
from django.conf import settings
from django.db import connection
from redis import Redis
from redis.exceptions import RedisError

from syncsvc.redis_connections import TIMEOUT_SECONDS, redis_at, refusal
from syncsvc.sealing import number

BEAT_KEY, BEAT_SECONDS = "syncsvc:beat", 30
TROUBLE_KEY = "syncsvc:worker-trouble"
WORKERS_KEY, WORKER_SECONDS = "syncsvc:workers", 60
# Written by each who looks: a replica answers every question, and takes no wake-up.
WRITTEN_KEY, WRITTEN_SECONDS = "syncsvc:written", 60

# By Redis's own clock, so that workers whose clocks differ are judged alike. The trouble of a worker that is gone goes.
_SEEN = """local now = tonumber(redis.call('TIME')[1])
for n, kind in ipairs({'zset', 'hash'}) do
  if redis.call('TYPE', KEYS[n]).ok ~= kind then redis.call('DEL', KEYS[n]) end
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if ARGV[3] == '' then redis.call('HDEL', KEYS[2], ARGV[1]) else redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
  if not redis.call('ZSCORE', KEYS[1], name) then redis.call('HDEL', KEYS[2], name) end
end
redis.call('EXPIRE', KEYS[2], ARGV[2])"""
# At most a thousand workers and their troubles, of a length that we write.
_TROUBLES = """local found = {}
for n, name in ipairs(redis.pcall('HKEYS', KEYS[1])) do
  if n <= 1000 and #name <= 300 and redis.call('HSTRLEN', KEYS[1], name) <= 2100 then
    found[#found + 1] = {name, redis.call('HGET', KEYS[1], name)}
  end
end
return found"""
_WORKERS = """local found = {}
for _, name in ipairs(redis.pcall('ZRANGE', KEYS[1], 0, 999)) do
  if #name <= 300 then found[#found + 1] = {name, redis.call('ZSCORE', KEYS[1], name)} end
end
return found"""
_COUNT = """local workers = redis.pcall('ZCOUNT', KEYS[1], tonumber(redis.call('TIME')[1]) - ARGV[1], '+inf')
return type(workers) == 'number' and workers or 0"""


TROUBLES = ("disk", "crash")


class Trouble(TypedDict):
    """What is wrong with a worker: `kind` is disk or crash."""

    kind: str
    text: str


class Health(TypedDict):
    """`scheduler`: seen in the last 30 s; `workers`: processes seen in the last 60 s.

    `trouble` is what is wrong with workers, by their names: a disk that they cannot write to, a failure outside a run.
    `redis`: it answers and takes writes. `redis_error`, where it answers and takes none: why.
    """

    database: bool
    redis: bool
    scheduler: bool
    workers: int
    trouble: dict[str, Trouble]
    redis_error: NotRequired[str]


class Worker(NamedTuple):
    """A worker process, and how many seconds ago it was seen."""

    name: str
    seconds: int


class Alive(NamedTuple):
    """What Redis knows: seconds since the scheduler was seen (None: not lately), workers, messages of each queue.

    `trouble` is what is wrong with workers, by their names.
    `refusal`: why it takes no writes; scheduler and workers cannot say then that they live.
    """

    scheduler: int | None
    workers: list[Worker]
    messages: list[int]
    trouble: dict[str, Trouble]
    refusal: str = ""


class RedisState(NamedTuple):
    """`refusal`: why Redis takes no writes, where it answers; `troubles`: those of workers, by their names."""

    answers: bool
    refusal: str = ""
    scheduler: bool = False
    workers: int = 0
    troubles: Mapping[str, Trouble] = MappingProxyType({})

    @property
    def trouble(self) -> str:
        """What is wrong with Redis, as the rest of a sentence that begins with its name; nothing where all is well."""
        if not self.answers:
            return "does not answer"
        return f"takes no writes ({self.refusal})" if self.refusal else ""


def health() -> Health:
    """Never raises; takes 2 s for each server that does not answer."""
    redis = redis_state()
    state: Health = {
        "database": database_answers(),
        "redis": redis.answers and not redis.refusal,
        "scheduler": redis.scheduler,
        "workers": redis.workers,
        "trouble": dict(redis.troubles),
    }
    if redis.refusal:
        state["redis_error"] = redis.trouble
    return state


def alive(queues: Sequence[str] = ()) -> Alive | None:
    """None where Redis does not answer."""
    try:
        pipeline = redis_at(settings.REDIS_URL).pipeline(transaction=False)
        pipeline.set(WRITTEN_KEY, 1, ex=WRITTEN_SECONDS)
        pipeline.ttl(BEAT_KEY)
        pipeline.time()
        pipeline.eval(_WORKERS, 1, WORKERS_KEY)
        pipeline.eval(_TROUBLES, 1, TROUBLE_KEY)
        for queue in queues:
            pipeline.llen(queue)
        written, *answers = pipeline.execute(raise_on_error=False)
        beat, (now, _), workers, trouble, *messages = _all_good(answers)
    except RedisError as error:
        return Alive(None, [], [0 for _ in queues], {}, reason) if (reason := refusal(error)) else None
    except OSError:
        return None
    scores = [(name, number(at)) for name, at in cast("list[tuple[bytes, bytes]]", workers)]
    seen = [Worker(_text(name), max(0, now - at)) for name, at in scores if at is not None]
    scheduler = BEAT_SECONDS - int(beat) if beat > 0 else None
    lately = sorted(worker for worker in seen if worker.seconds <= WORKER_SECONDS)
    return Alive(scheduler, lately, [int(n) for n in messages], _troubles(trouble), _refusal(written))


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


def redis_state() -> RedisState:
    """Never raises; takes 2 s where Redis does not answer."""
    try:
        pipeline = redis_at(settings.REDIS_URL).pipeline(transaction=False)
        pipeline.set(WRITTEN_KEY, 1, ex=WRITTEN_SECONDS)
        pipeline.exists(BEAT_KEY)
        pipeline.eval(_COUNT, 1, WORKERS_KEY, WORKER_SECONDS)
        pipeline.eval(_TROUBLES, 1, TROUBLE_KEY)
        written, *answers = pipeline.execute(raise_on_error=False)
        seen, workers, trouble = _all_good(answers)
    except RedisError as error:
        return RedisState(answers=bool(refusal(error)), refusal=refusal(error))
    except OSError:
        return RedisState(answers=False)
    return RedisState(True, _refusal(written), bool(seen), int(workers), _troubles(trouble))


def _refusal(answer: object) -> str:
    return refusal(answer) if isinstance(answer, RedisError) else ""


def _all_good(answers: list[Any]) -> list[Any]:
    """The answers of a pipeline, where none of them is an error."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def _troubles(found: list[tuple[bytes, bytes]]) -> dict[str, Trouble]:
    pairs = {_text(name): _text(text).partition(" ") for name, text in found}
    return {name: Trouble(kind=kind, text=text) for name, (kind, _, text) in pairs.items() if kind in TROUBLES}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _forgiving(call: Callable[[Redis], object]) -> None:
    try:
        call(redis_at(settings.REDIS_URL))
    except (RedisError, OSError):
        return
