"""The whole system in a temporary folder, as `make demo` runs it, with remotes and endpoints of invented clients."""

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import django

from screenshots.endpoints import Endpoints
from screenshots.remotes import Remotes
from syncsvc.management.embedded import free_port
from syncsvc.management.process import Program
from syncsvc.management.stack import BASE_DIR, Stack

SETTINGS = {
    "GIT_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    "GIT_ALLOWED_PORTS": "*",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    "RETRY_DELAYS": "1,2",  # what fails is failed soon
    "BULK_MAX_RUNNING": "4",  # a bulk operation can be caught in its middle
    "POLL_SECONDS": "3600",  # nothing moves but what the scene asks for
    "STOP_SECONDS": "5",
}


class Stage:
    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="syncsvc-screenshots-")))
        folder.chmod(0o711)  # as root PostgreSQL runs as another user, and passes through
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ.pop(name, None)
            os.environ.pop(name.upper(), None)
        os.environ |= {**SETTINGS, "DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "config.settings"}
        self.remotes = self._exit.enter_context(Remotes(folder / "git"))
        self.endpoints = self._exit.enter_context(Endpoints())
        stack = _Stack(data_dir=folder / "data", web_port=free_port(), say=_ignore, workers=2)
        self.console = self._exit.enter_context(stack).console
        django.setup()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        from django.db import connection

        connection.close()
        if connection.pool is not None:  # type: ignore[attr-defined]
            connection.close_pool()  # type: ignore[attr-defined]
        self._exit.close()


class _Stack(Stack):
    def worker(self, name: str, **environment: str) -> Program:
        command = (sys.executable, "-m", "screenshots.worker", "--name", name)
        return Program(name=name, command=command, directory=BASE_DIR, environment={**self.environment, **environment})


def _ignore(line: str) -> None:
    """Among it is a password."""
