"""The scheduler process: Celery's beat, whose one entry runs here instead of being sent to a worker.

So what is due is found even where all workers are busy, and a lease ends even where Redis is away.
"""

import time
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import crontab, schedule
from django.conf import settings
from django.db import Error, connection

from syncsvc import wakeup
from syncsvc.operations.release import sweep_operations
from syncsvc.sync.health import beat_seen
from syncsvc.sync.scheduler import sweep

logger = structlog.get_logger(__name__)

SWEEP = "sweep"
RETENTION = "delete what is past its retention"
RETENTION_HOUR = 3  # UTC


class SweepScheduler(Scheduler):
    """Runs the sweep every SWEEP_SECONDS; the nightly deletion goes to a worker. Two of these do no harm."""

    producer = None  # type: ignore[assignment]  # Celery's own waits for Redis, and the sweep must not

    def setup_schedule(self) -> None:
        self.data = {
            SWEEP: self.Entry(app=self.app, name=SWEEP, task=SWEEP, schedule=schedule(settings.SWEEP_SECONDS)),
            RETENTION: self.Entry(
                app=self.app,
                name=RETENTION,
                task=wakeup.DELETE_EXPIRED,
                schedule=crontab(minute="17", hour=str(RETENTION_HOUR)),
                options={"queue": wakeup.housekeeping_queue()},
            ),
        }
        self.max_interval = max(1, int(settings.SWEEP_SECONDS))

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        if entry.name != SWEEP:
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        if advance:
            self.reserve(entry)
        try:
            sweep()
            sweep_operations()
            beat_seen()
        except Error as error:
            logger.warning("sweep.failed", error=type(error).__name__)
            time.sleep(settings.SWEEP_SECONDS)
        finally:
            connection.close()
        return None
