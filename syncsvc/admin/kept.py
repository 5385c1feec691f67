"""A single-flight cache in Redis: where many tabs request one text, one request makes it, for all of them."""

import hashlib
import time
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString, mark_safe
from redis import Redis
from redis.exceptions import RedisError

from syncsvc.admin.parts import MOVING_SECONDS, shows, unchanged
from syncsvc.redis_connections import redis_at
from syncsvc.sealing import MOST_BYTES, opened, sealed

SECONDS = MOVING_SECONDS
# A request that comes while the text is made again gets the last one; where there is none it waits for a moment.
STAYS_SECONDS = 20
WAIT_SECONDS, STEP_SECONDS = 1.0, 0.05
PREFIX = "syncsvc:kept:"
# Stands in the HTML for the version, which is computed of the HTML itself.
VERSION = "~version~"

# One round trip: whether it is for us to make it anew, and what there is.
_TURN = """return {
  redis.call('SET', KEYS[1] .. ':turn', 1, 'NX', 'PX', ARGV[1]) and 1 or 0, redis.call('GETRANGE', KEYS[1], 0, ARGV[2])
}"""


def kept(name: str, make: Callable[[], str], *, seconds: Callable[[str], float] = lambda text: SECONDS) -> str:
    """The text that `make` gives, at most so old as `seconds` says of it. Where Redis is away each asker makes it."""
    redis, key = redis_at(settings.REDIS_URL), PREFIX + name
    try:
        mine, value = cast("tuple[int, bytes]", redis.eval(_TURN, 1, key, int(SECONDS * 1000), MOST_BYTES))
        found = opened(key, value)
        deadline = time.monotonic() + WAIT_SECONDS
        while not mine and found is None and time.monotonic() < deadline:
            time.sleep(STEP_SECONDS)
            found = _read(redis, key)
    except (RedisError, OSError):
        return make()
    if found is not None and not mine:
        return found
    text = make()
    lasts = seconds(text)
    try:
        _write(redis, key, text, lasts + STAYS_SECONDS)
        if lasts > SECONDS:
            redis.set(f"{key}:turn", 1, px=int(lasts * 1000), xx=True)  # unless it was forgotten meanwhile
    except (RedisError, OSError):
        return text
    return text


def is_fresh(name: str) -> bool:
    """True while the text need not be made again; False where Redis is away."""
    try:
        return bool(redis_at(settings.REDIS_URL).exists(f"{PREFIX}{name}:turn"))
    except (RedisError, OSError):
        return False


def known(name: str) -> str | None:
    """The text that is kept, however old; None where there is none, or Redis is away."""
    try:
        return _read(redis_at(settings.REDIS_URL), PREFIX + name)
    except (RedisError, OSError):
        return None


def keep(name: str, text: str, *, seconds: float = SECONDS) -> None:
    """Keeps a text that was made without `kept`."""
    redis, key = redis_at(settings.REDIS_URL), PREFIX + name
    try:
        redis.set(f"{key}:turn", 1, px=int(seconds * 1000))
        _write(redis, key, text, seconds + STAYS_SECONDS)
    except (RedisError, OSError):
        return


def forget(*names: str) -> None:
    """Has these texts made again by the next request: somebody has just changed something, and wants to see it."""
    keys = [f"{PREFIX}{name}{end}" for name in names for end in ("", ":turn")]
    try:
        redis_at(settings.REDIS_URL).delete(*keys)
    except (RedisError, OSError):
        return


def shown(text: str) -> SafeString:
    """The HTML of a kept part, for the whole page."""
    return mark_safe(_versioned(text))  # noqa: S308 - a template of ours rendered it


def answer(request: HttpRequest, text: str) -> HttpResponse:
    """The answer to a request for the part alone; 204 where the tab shows this version already."""
    return unchanged() if shows(request, _version(text)) else HttpResponse(_versioned(text))


def _write(redis: Redis, key: str, text: str, seconds: float) -> None:
    redis.set(key, sealed(key, text, seconds=seconds), px=int(seconds * 1000))


def _read(redis: Redis, key: str) -> str | None:
    return opened(key, redis.getrange(key, 0, MOST_BYTES))


def _versioned(text: str) -> str:
    return text.replace(VERSION, _version(text))


def _version(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
