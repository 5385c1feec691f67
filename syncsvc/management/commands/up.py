"""`make up`: everything on this machine, in the foreground, until Ctrl-C."""

import signal
import time
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from syncsvc.management.stack import Stack
from syncsvc.management.supervisor import StartError
from syncsvc.visible import visible

ROUND_SECONDS = 0.2


def stop_on_sigterm() -> None:
    """Makes SIGTERM (and a closed terminal) end a command as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


class Command(BaseCommand):
    help = "Starts servers, web, workers and scheduler, restarts what dies, and ends it all on Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.WEB_PORT, help="of the console (default: WEB_PORT)")
        parser.add_argument("--workers", type=int, help="worker processes (default: one a core)")

    def handle(self, *args: Any, **options: Any) -> None:
        stop_on_sigterm()
        try:
            self._run(
                Stack(data_dir=settings.DATA_DIR, web_port=options["port"], workers=options["workers"], say=self._say)
            )
        except StartError as error:
            raise CommandError(str(error), returncode=2) from None
        except KeyboardInterrupt:
            self._say("everything has ended")

    def _run(self, stack: Stack) -> None:
        with stack:
            self._say(f"the console is at {stack.console}; Ctrl-C ends everything")
            try:
                while True:
                    stack.supervisor.tend()
                    time.sleep(ROUND_SECONDS)
            except KeyboardInterrupt:
                self._say("ending: runs record what they have sent, then stop (at most 30 s)")
                raise

    def _say(self, line: str) -> None:
        self.stdout.write(f"syncsvc: {visible(line)}")
        self.stdout.flush()
