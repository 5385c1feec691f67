"""The scheduler process; two at once do no harm."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from syncsvc.checks import OURS


class Command(BaseCommand):
    help = "Runs the scheduler, which finds what is due and wakes workers."
    requires_system_checks = (OURS,)

    def handle(self, *args: Any, **options: Any) -> None:
        from config.celery import app

        app.Beat(loglevel=settings.LOG_LEVEL, quiet=True).run()
