"""Celery's consumer, which waits for a Redis that takes no writes: Celery's own ends the worker."""

import time
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from django.conf import settings
from redis import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

logger = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 2
WRITTEN_KEY, WRITTEN_SECONDS = "syncsvc:written", 60


class PatientConsumer(Consumer):
    """Connects where Redis takes writes, and as often as it does again: taking a message is a write.

    A replica after a fail-over answers each question and refuses each write, and so does a server whose memory or disk
    is full. Runs that have begun go on meanwhile.
    """

    def connect(self) -> Any:
        said = ""
        while reason := _refusal():
            if reason != said:
                logger.warning("redis.refuses_writes", reason=reason)
            said = reason
            maybe_shutdown()
            time.sleep(PAUSE_SECONDS)
        if said:
            logger.info("redis.takes_writes_again")
        return super().connect()


def _refusal() -> str:
    """Why Redis takes no writes, asked over a new connection, since its name may lead elsewhere by now.

    Nothing where it does not answer at all: Celery waits for that by itself.
    """
    with Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    ) as redis:
        try:
            redis.set(WRITTEN_KEY, 1, ex=WRITTEN_SECONDS)
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            return str(error) or type(error).__name__
        except (RedisError, OSError):
            return ""
    return ""
