"""One worker process."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from syncsvc.checks import OURS


class Command(BaseCommand):
    help = (
        "Runs one worker process: WORKER_THREADS short runs at a time, as many long ones and as many polls, of the"
        " shards in WORKER_QUEUES (default: all)."
    )
    requires_system_checks = (OURS,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", default="worker", help="unique on this machine")

    def handle(self, *args: Any, **options: Any) -> None:
        from celery.utils.nodenames import default_nodename, host_format

        from config.celery import app, worker_queues

        queues = worker_queues(settings.WORKER_QUEUES)
        if not queues:
            raise CommandError(
                f"WORKER_QUEUES names no shard; there are 0 to {settings.SYNC_QUEUES - 1} (SYNC_QUEUES)."
            )
        # As `celery worker` does, whose command line would take longer to load than all that is ours.
        worker = app.Worker(
            hostname=host_format(default_nodename(f"{options['name']}@%h")),
            concurrency=settings.WORKER_THREADS,
            queues=queues,
            loglevel=settings.LOG_LEVEL,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,  # no banner in the log
        )
        worker.start()
        sys.exit(worker.exitcode)
