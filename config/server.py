"""The web server: granian, with Django behind the gateway. docs/decisions.md says why, with numbers."""

import os
import resource
import signal
import threading
import time
from functools import partial
from importlib import import_module

from django.conf import settings
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from config.gateway import Gateway

THREADS = 8  # requests that Django answers at a time, in each process
CONNECTIONS = 4096  # open ones in each process; more of them wait in the kernel
BACKLOG = 2048
HEADER_SECONDS = 20  # for the headers of a request, and for the next request: a tab pauses for up to 15 s
HEADER_BYTES = 64 * 1024
STOP_SECONDS = 20  # for requests that are being answered when the server is told to stop
FILES = 2 * CONNECTIONS  # open files that one process may need


def serve(host: str, port: int, *, processes: int, header_seconds: int = HEADER_SECONDS) -> None:
    """Serves the console and the API until SIGTERM or SIGINT."""
    _allow_open_files()
    import_module("config.wsgi")  # before the processes are forked: they share what is loaded
    server = Granian(
        "config.server",
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        workers=processes,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=header_seconds * 1000, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        log_dictconfig={"handlers": {}, "loggers": {"_granian": {"propagate": True}}},  # as ours: config/logs.py
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=STOP_SECONDS,
    )
    server.serve(target_loader=partial(_application, os.getpid()), wrap_loader=False)


def _application(parent: int) -> Gateway:
    """Called once in each process."""
    _end_with(parent)
    return Gateway(
        import_module("config.wsgi").application,
        threads=THREADS,
        large=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        session_cookie=settings.SESSION_COOKIE_NAME,
    )


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent was killed, or it would keep the port."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _allow_open_files() -> None:
    """Raises the limit of open files as far as it is needed and allowed: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
