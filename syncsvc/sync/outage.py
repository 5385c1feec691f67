"""Getting a write through while PostgreSQL restarts."""

import time
from collections.abc import Callable

import structlog
from django.db import InterfaceError, OperationalError, connection

from syncsvc.sync.lease import Lease, LeaseLostError

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
AWAY = (OperationalError, InterfaceError)


def through_outage[T](lease: Lease, write: Callable[[], T]) -> T:
    """Tries again for as long as the lease can be ours; LeaseLostError after that. The write must bear repetition."""
    while True:
        try:
            return write()
        except AWAY as error:
            connection.close()
            if not lease.covers(RETRY_SECONDS):
                lease.lost.set()
                raise LeaseLostError from error
            logger.warning("database.away", error=type(error).__name__)
            time.sleep(RETRY_SECONDS)
