"""`make demo`: a real repository arrives in a real client app, and everything that needs runs here."""

import json
import os
import subprocess
import sys
import time
from argparse import SUPPRESS, ArgumentParser
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from syncsvc.egress.ports import ANY
from syncsvc.management.commands.up import ROUND_SECONDS, stop_on_sigterm
from syncsvc.management.demo_bad_day import BadDay
from syncsvc.management.demo_receiver import DemoReceiver, ReceiverClient
from syncsvc.management.demo_source import Source, find_source
from syncsvc.management.demo_watch import APP, Demo, Facts, put_away
from syncsvc.management.stack import BASE_DIR, MANAGE, Stack
from syncsvc.management.supervisor import StartError
from syncsvc.management.terminal import CLEAR
from syncsvc.visible import visible

LOOPBACK = "127.0.0.0/8,::1/128"
TROUBLED_APP = "demo-trouble"
RECEIVER = BASE_DIR / "examples" / "receiver" / "receiver.py"


class Command(BaseCommand):
    help = "Starts everything and a receiver, and shows a repository arrive in it, file by file, until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repo", help="URL or path of a git repository (default: this checkout)")
        parser.add_argument("--branch", help="default: the one that its HEAD is on")
        parser.add_argument("--check", action="store_true", help="compare every byte with git, then end")
        parser.add_argument(
            "--trouble",
            type=float,
            nargs="?",
            const=1,
            metavar="SCALE",
            help="the receiver throttles, hiccups, crawls and rejects three files; SCALE stretches these times",
        )
        parser.add_argument(
            "--timeout", type=float, default=600, help="seconds for everything to arrive (default: 600)"
        )
        parser.add_argument("--port", type=int, default=settings.WEB_PORT, help="of the console (default: WEB_PORT)")
        parser.add_argument("--workers", type=int, help="worker processes (default: one a core)")
        # The second half, in a process of its own: its facts come on stdin.
        parser.add_argument("--watch", action="store_true", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["watch"]:
            self._watch()
            return
        stop_on_sigterm()
        try:
            well = self._run(options)
        except StartError as error:
            raise CommandError(str(error), returncode=2) from None
        except KeyboardInterrupt:
            self._say("everything has ended")
            return
        if not well:
            sys.exit(1)

    def _run(self, options: dict[str, Any]) -> bool:
        source = find_source(options["repo"], options["branch"], checkout=BASE_DIR)
        trouble = options["trouble"]
        folder = Path(settings.DATA_DIR) / ("demo" if trouble is None else "demo-trouble")
        receiver = DemoReceiver(folder, program=RECEIVER, trouble=trouble)
        self._say(f"starting servers, workers, console and a receiver, to show {source.url}")
        environment = {
            "GIT_ALLOW_LOCAL": "1",
            "GIT_ALLOWED_NETWORKS": _with_loopback(settings.GIT_ALLOWED_NETWORKS),
            "GIT_ALLOWED_PORTS": ANY,  # a git server on this machine has a port of its own
            "WEBHOOK_ALLOWED_NETWORKS": _with_loopback(settings.WEBHOOK_ALLOWED_NETWORKS),
        }
        with Stack(
            data_dir=settings.DATA_DIR,
            web_port=options["port"],
            workers=options["workers"],
            say=self._say,
            environment=environment,
        ) as stack:
            receiver.start(stack.supervisor)
            return self._tend(stack, _facts(stack, source, receiver, options))

    def _tend(self, stack: Stack, facts: Facts) -> bool:
        """Keeps everything running while the watching process does its part."""
        command = [*MANAGE, "demo", "--watch"]
        environment = {**os.environ, **stack.environment}
        # In a process group of its own: Ctrl-C is for us, and we end it.
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, process_group=0) as watch:
            try:
                assert watch.stdin is not None  # noqa: S101 - it is a pipe
                watch.stdin.write(json.dumps(asdict(facts)).encode())
                watch.stdin.close()
                while watch.poll() is None:
                    stack.supervisor.tend()
                    time.sleep(ROUND_SECONDS)
            except KeyboardInterrupt:
                self._say("ending: runs record what they have sent, then stop (at most 30 s)")
                raise
            finally:
                with suppress(ProcessLookupError):
                    watch.terminate()
        return watch.returncode == 0

    def _watch(self) -> None:
        facts = Facts(**json.load(sys.stdin))
        stop_on_sigterm()
        try:
            with ReceiverClient(facts.receiver_port) as receiver:
                demo = BadDay if facts.trouble else Demo
                well = demo(facts, receiver, sys.stdout).run()
        except KeyboardInterrupt:
            return
        finally:
            put_away(facts)
        if not well:
            sys.exit(1)

    def _say(self, line: str) -> None:
        clear = CLEAR if self.stdout.isatty() else ""  # the progress of the watching process may stand there
        self.stdout.write(f"{clear}demo: {visible(line)}")
        self.stdout.flush()


def _with_loopback(networks: list[str]) -> str:
    return ",".join([*networks, LOOPBACK])


def _facts(stack: Stack, source: Source, receiver: DemoReceiver, options: dict[str, Any]) -> Facts:
    return Facts(
        url=source.url,
        branch=source.branch,
        receiver_port=receiver.port,
        receiver_is_new=receiver.is_new,
        secret=receiver.secret_file.read_text(encoding="ascii").strip(),
        console=stack.console,
        login=stack.login,
        log_dir=str(stack.supervisor.log_dir),
        check=options["check"],
        timeout=options["timeout"],
        app=APP if options["trouble"] is None else TROUBLED_APP,
        trouble=options["trouble"] is not None,
    )
