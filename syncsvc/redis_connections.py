"""Clients of Redis, which may be away or refuse: wake-ups, caches and live numbers do without it for a while."""

import re
from functools import cache, lru_cache
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.retry import Retry

TIMEOUT_SECONDS = 2

# The first word of an error by which Redis refuses, and what that means.
REFUSALS = {
    "READONLY": "it is a read-only replica",
    "MASTERDOWN": "it is a replica whose primary is away",
    "NOREPLICAS": "it has too few replicas",
    "OOM": "its memory is full",
    "MISCONF": "it cannot save to its disk",
    "LOADING": "it still loads its data",
    "NOPERM": "its user may not write",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it wants another password",
}
# What OpenSSL says, without its error codes and source lines.
NOT_TRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: ([^(]+?)\.? \(")
# After a fail-over the same name leads to another server, which takes writes. A connection to the old one stays.
OF_REPLICAS = ("READONLY", "MASTERDOWN")


def refusal(error: RedisError) -> str:
    """Why Redis, which answered, did not do as it was told; nothing where it did not answer."""
    if match := NOT_TRUSTED.search(str(error)):
        return f"its certificate is not trusted: {match[1]}; name its authority in REDIS_URL, ?ssl_ca_certs=FILE"
    if not isinstance(error, ResponseError | BusyLoadingError | AuthenticationError):
        return ""
    return REFUSALS.get(_first_word(error), str(error).partition("\n")[0][:200] or type(error).__name__)


def _first_word(error: RedisError) -> str:
    return getattr(error, "status_code", None) or str(error).partition(" ")[0]


class FollowingPool(ConnectionPool):
    """Closes a connection to a server that has become a replica: the next one goes where its name leads now."""

    def __init__(self, connection_class: type[Any] = Connection, **options: Any) -> None:
        super().__init__(connection_class=_noting(connection_class), **options)  # type: ignore[arg-type, unused-ignore]

    def release(self, connection: Any) -> None:
        if connection.is_replica:
            connection.disconnect()
            connection.is_replica = False
        super().release(connection)


@cache
def _noting(connection_class: type[Any]) -> type[Any]:
    """The class, for TCP, TLS or a Unix socket, with a note of whether its server refused as a replica does."""

    class Noting(connection_class):  # type: ignore[misc]
        is_replica = False

        def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                return super().read_response(*args, **options)
            except ResponseError as error:
                # Not closed here: a pipeline still has answers to read.
                self.is_replica |= _first_word(error) in OF_REPLICAS or "READONLY" in str(error)
                raise

    return Noting


@lru_cache(maxsize=16)
def redis_at(url: str, *, timeout: float = TIMEOUT_SECONDS, as_text: bool = False) -> Redis:
    """A client that tries once: who asks has something else to do. `timeout` is in seconds; `as_text` decodes."""
    pool = FollowingPool.from_url(
        url,
        decode_responses=as_text,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis(connection_pool=pool)
