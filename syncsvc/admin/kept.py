"""What many tabs ask for at once is made by one of them, and kept in Redis for a moment."""

import hashlib
import time
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

from syncsvc.redis_connections import redis_at

SECONDS = 2
# Who asks while it is made anew gets the one before; where there is none, waits for a moment.
STAYS_SECONDS = 20
WAIT_SECONDS, STEP_SECONDS = 1.0, 0.05
PREFIX = "syncsvc:kept:"
# Stands in a part's own address for what it looks like: who has that already is answered 204, and keeps focus.
VERSION = "@version@"

# One round trip: whether it is for us to make it anew, and what there is.
_TURN = (
    """return {redis.call('SET', KEYS[1] .. ':turn', 1, 'NX', 'PX', ARGV[1]) and 1 or 0, redis.call('GET', KEYS[1])}"""
)


def kept(name: str, make: Callable[[], str], *, seconds: float = SECONDS) -> str:
    """The text that `make` gives, at most so old. Where Redis is away each asker makes it."""
    redis, key = redis_at(settings.REDIS_URL), PREFIX + name
    try:
        mine, found = cast("tuple[int, bytes | None]", redis.eval(_TURN, 1, key, int(seconds * 1000)))
        deadline = time.monotonic() + WAIT_SECONDS
        while not mine and found is None and time.monotonic() < deadline:
            time.sleep(STEP_SECONDS)
            found = cast("bytes | None", redis.get(key))
    except (RedisError, OSError):
        return make()
    if found is not None and not mine:
        return found.decode()
    text = make()
    try:
        redis.set(key, text, px=int((seconds + STAYS_SECONDS) * 1000))
    except (RedisError, OSError):
        return text
    return text


def is_fresh(name: str) -> bool:
    """Whether nobody has to make it anew now; False where Redis is away."""
    try:
        return bool(redis_at(settings.REDIS_URL).exists(f"{PREFIX}{name}:turn"))
    except (RedisError, OSError):
        return False


def keep(name: str, text: str, *, seconds: float = SECONDS) -> None:
    """What somebody has just made by other means."""
    redis, key = redis_at(settings.REDIS_URL), PREFIX + name
    try:
        redis.set(f"{key}:turn", 1, px=int(seconds * 1000))
        redis.set(key, text, px=int((seconds + STAYS_SECONDS) * 1000))
    except (RedisError, OSError):
        return


def forget(*names: str) -> None:
    """What was kept no longer holds: somebody has just changed something, and wants to see it."""
    keys = [f"{PREFIX}{name}{end}" for name in names for end in ("", ":turn")]
    try:
        redis_at(settings.REDIS_URL).delete(*keys)
    except (RedisError, OSError):
        return


def versioned(text: str) -> str:
    return text.replace(VERSION, _version(text))


def answer(request: HttpRequest, text: str) -> HttpResponse:
    """The part for htmx; nothing where the page shows just this already."""
    if request.GET.get("v") == _version(text):
        return HttpResponse(status=204)
    return HttpResponse(versioned(text))


def _version(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
