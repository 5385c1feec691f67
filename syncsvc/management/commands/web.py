"""The web server."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from syncsvc.checks import OURS


class Command(BaseCommand):
    help = "Runs the web server: the console and the API, at WEB_PORT of this machine."
    requires_system_checks = (OURS,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: this machine's)")
        parser.add_argument("--port", type=int, default=settings.WEB_PORT, help="(default: WEB_PORT)")
        parser.add_argument("--processes", type=int, default=2, help="of 8 threads each (default: 2)")

    def handle(self, *args: Any, **options: Any) -> None:
        from config.server import serve

        serve(options["host"], options["port"], processes=options["processes"])
