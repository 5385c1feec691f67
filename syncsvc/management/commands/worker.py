"""One worker process."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from syncsvc.checks import OURS


class Command(BaseCommand):
    help = "Runs one worker process: WORKER_THREADS runs at a time, of the shards in WORKER_QUEUES (default: all)."
    requires_system_checks = (OURS,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", default="worker", help="unique on this machine")

    def handle(self, *args: Any, **options: Any) -> None:
        from config.celery import app, worker_queues

        queues = worker_queues(settings.WORKER_QUEUES)
        if not queues:
            raise CommandError(
                f"WORKER_QUEUES names no shard; there are 0 to {settings.SYNC_QUEUES - 1} (SYNC_QUEUES)."
            )
        app.worker_main(
            [
                "--quiet",  # no banner in the log
                "worker",
                "--disable-prefetch",  # see config.pool
                f"--concurrency={settings.WORKER_THREADS}",
                f"--queues={','.join(queues)}",
                f"--hostname={options['name']}@%h",
                f"--loglevel={settings.LOG_LEVEL}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
