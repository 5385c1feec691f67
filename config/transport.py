"""Celery's connection to Redis, which drops what is no message of ours: kombu's own ends the worker."""

from typing import Any

import structlog
from kombu.transport.redis import Channel, Transport

logger = structlog.get_logger(__name__)


class ForgivingChannel(Channel):
    """Whoever can write to Redis can put anything into a queue: it is dropped, and the log says so."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc] # not in the stubs
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # It has left the queue by now; the sweep sends a wake-up that was damaged again.
            logger.warning("queue.not_a_message", error=type(error).__name__)
            return True


class ForgivingTransport(Transport):
    Channel = ForgivingChannel
