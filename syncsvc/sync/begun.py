"""Big files that an endpoint has taken some parts of: the next run goes on with the next part.

A cache in Redis. Without it a file begins at part 0; where the endpoint has forgotten its parts it answers 409, and the
file begins at part 0 as well.
"""

import hashlib
from collections.abc import Callable

import structlog
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from syncsvc.redis_connections import redis_at
from syncsvc.sealing import number
from syncsvc.sync.cargo import Parts, change_id
from syncsvc.types import Change

logger = structlog.get_logger(__name__)

KEPT_SECONDS = 7 * 24 * 3600
TIMEOUT_SECONDS = 0.5


class BegunFiles:
    """Begun files of one endpoint, in parts of one size, for the length of a run. `url` is the app's."""

    def __init__(self, url: str, *, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self.move(url)
        # A Redis that did not answer is not asked again: each question could cost its whole time limit.
        self._is_away = False

    def move(self, url: str) -> None:
        """The app has another URL by now: that endpoint has begun files of its own."""
        endpoint = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
        self._prefix = f"begun:{endpoint}:{self._part_bytes}:"

    def next_part(self, change: Change) -> int:
        """The part that the endpoint takes next; 0 where nothing is known of the file."""
        return number(self._forgiving(lambda redis: redis.getrange(self._key(change), 0, 15))) or 0

    def note(self, file: Parts) -> None:
        self._forgiving(lambda redis: redis.set(self._key(file.changes[0]), file.next_part, ex=KEPT_SECONDS))

    def forget(self, file: Parts) -> None:
        """The endpoint has refused a part, and may have lost those before; or they may be of a damaged copy."""
        self._forgiving(lambda redis: redis.delete(self._key(file.changes[0])))

    def _key(self, change: Change) -> str:
        return f"{self._prefix}{change_id(change)}"

    def _forgiving[T](self, call: Callable[[Redis], T]) -> T | None:
        if self._is_away:
            return None
        try:
            return call(redis_at(settings.REDIS_URL, timeout=TIMEOUT_SECONDS))
        except (RedisError, OSError) as error:
            logger.warning("begun.redis_away", error=type(error).__name__)
            self._is_away = True
            return None
