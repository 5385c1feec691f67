"""The whole system on one machine: embedded servers, web, workers, scheduler."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from syncsvc.management.embedded import Embedded, make_data_dir, port_is_free
from syncsvc.management.process import Program, read_pid_file, write_pid_file
from syncsvc.management.supervisor import StartError, Supervisor

# What a killed `up` leaves of its web server ends a moment after its parent.
PORT_SECONDS = 5.0

BASE_DIR = Path(__file__).resolve().parents[2]
MANAGE = (sys.executable, str(BASE_DIR / "manage.py"))
WEB_READY_SECONDS = 60
MOST_WORKERS = 20  # unless more are asked for: PostgreSQL has connections for so many
SUPERVISOR = "supervisor"


class Stack:
    """Everything `make up` runs. Entering starts it and returns when the console answers; leaving ends every process.

        with Stack(data_dir=..., web_port=8000, say=print) as stack:
            while not done:
                stack.supervisor.tend()   # restarts what died
                time.sleep(0.2)

    `environment` goes to every process beside our own; `settings` is what they found in `data_dir`/env.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        web_port: int,
        say: Callable[[str], None],
        workers: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir, self.web_port, self._say = data_dir, web_port, say
        self.workers = workers or min(os.cpu_count() or 1, MOST_WORKERS)
        self.environment = {"WEB_PORT": str(web_port), **(environment or {})}
        self.settings: dict[str, str] = {}
        self.login = ""  # the line that says how to log in
        make_data_dir(data_dir)
        self.supervisor = Supervisor(run_dir=data_dir / "run", log_dir=data_dir / "log", say=say)
        self._lock = self._only_one()

    @property
    def console(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/admin/"

    def __enter__(self) -> Self:
        self._lock.__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervisor.stop_all()
        self._lock.__exit__(None, None, None)

    def _start(self) -> None:
        if not _gets_free(self.web_port):
            other = self.web_port + 1
            raise StartError(f"Port {self.web_port} is taken by another program. Choose one: WEB_PORT={other} make up")
        given = {**os.environ, **self.environment}
        self.settings = Embedded(self.data_dir, supervisor=self.supervisor, environment=given).start()
        self.login = self._prepare_database()
        self._say(self.login)
        for number in range(1, self.workers + 1):
            self.supervisor.start(self.worker(f"worker-{number}"))
        self.supervisor.start(self.scheduler())
        self._start_web()

    def worker(self, name: str, **environment: str) -> Program:
        """One worker process; `name` is unique on this machine."""
        return self._program(name, *MANAGE, "worker", "--name", name, **environment)

    def scheduler(self) -> Program:
        return self._program("scheduler", *MANAGE, "scheduler")

    def _web(self) -> Program:
        return self._program("web", *web_command(self.web_port))

    def _program(self, name: str, *command: str, **environment: str) -> Program:
        return Program(name=name, command=command, directory=BASE_DIR, environment={**self.environment, **environment})

    def _prepare_database(self) -> str:
        """Migrates; gives the line that says how to log in."""
        command = [*MANAGE, "prepare"]
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(f"The database could not be prepared:\n{(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def _start_web(self) -> None:
        child = self.supervisor.start(self._web())
        deadline = time.monotonic() + WEB_READY_SECONDS
        while not _answers(self.web_port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"The web process does not start. Its log: {child.log}")
            time.sleep(0.05)

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """Held while we run; the kernel frees it when we die, however that comes about."""
        with (self.supervisor.run_dir / "lock").open("w") as lock:
            pid_file = self.supervisor.run_dir / f"{SUPERVISOR}.pid"
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = (read_pid_file(pid_file) or ("?",))[0]
                raise StartError(f"It already runs here (process {pid}). `make down` ends it.") from None
            write_pid_file(pid_file, os.getpid())
            try:
                yield
            finally:
                pid_file.unlink(missing_ok=True)


def web_command(port: int, *, processes: int = 2) -> tuple[str, ...]:
    return (*MANAGE, "web", f"--port={port}", f"--processes={processes}")


def _answers(port: int) -> bool:
    """Whatever it answers: what it thinks of our Host is another matter."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as web:
        try:
            web.request("GET", "/healthz")
            return bool(web.getresponse().status)
        except (OSError, HTTPException):
            return False


def _gets_free(port: int) -> bool:
    deadline = time.monotonic() + PORT_SECONDS
    while not (free := port_is_free(port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return free
