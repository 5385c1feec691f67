"""The console over a full database of its own, beside that of the other rows; it goes when the `with` ends."""

import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psycopg
from psycopg import sql

from benchmarks.cpu import cpu_of_server
from benchmarks.operator import Operator
from benchmarks.stage import CHECKOUT, Stage
from syncsvc.management.embedded import free_port
from syncsvc.management.process import Program
from syncsvc.management.stack import MANAGE, web_command

DATABASE = "syncsvc_pages"
NAME = "operator"
READY_SECONDS = 60
# What the log calls a statement and asks nothing.
BOUNDS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SELECT 1", "SHOW", "SET ")
TIMED = re.compile(
    r"^\S+ \S+ UTC \[(\d+)\] LOG:  duration: ([\d.]+) ms  (?:statement|execute [^:]+): (.*(?:\n(?!\d{4}-).*)*)", re.M
)


class Statement(NamedTuple):
    milliseconds: float
    text: str


class Console:
    def __init__(self, stage: Stage, scale: float) -> None:
        self._stage, self._scale, self._password = stage, scale, secrets.token_urlsafe(12)
        self._url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{DATABASE}"
        self._redis = os.environ["REDIS_URL"].rpartition("/")[0] + "/9"
        self.environment = {"DATABASE_URL": self._url, "DATABASE_OWNER_URL": self._url, "REDIS_URL": self._redis}
        self._pid = 0
        self.seconds = 0.0  # that the rows took to make
        self.log = Path(stage.supervisor.log_dir, "postgres.log")

    def __enter__(self) -> Self:
        self._server(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        self._manage("migrate", "--no-input", "--verbosity=0")
        began = time.monotonic()
        self._manage("seed_scale", f"--scale={self._scale}", f"--into={DATABASE}")
        self.seconds = time.monotonic() - began
        self._manage("createsuperuser", "--no-input", f"--username={NAME}", "--email=")
        self.connection = psycopg.connect(self._url, autocommit=True)
        self.connection.execute(
            "INSERT INTO syncsvc_apitoken (id, name, user_id, scopes, prefix, digest, expires_at)"
            " SELECT gen_random_uuid(), 'nightly', id, '{read,retry}', 'syncsvc_bench', md5('bench'), now() + '90 days'"
            " FROM auth_user"
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.connection.close()
        self._server(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(DATABASE)))

    @contextmanager
    def web(self, *, processes: int, headers: dict[str, str] | None = None) -> Iterator[Operator]:
        """The web process as `make up` runs it, and an operator who is logged in."""
        port = free_port()
        command = web_command(port, processes=processes)
        program = Program(name="web", command=command, directory=CHECKOUT, environment=self.environment)
        self._pid = self._stage.supervisor.start(program).pid
        operator = Operator(port, headers)
        try:
            _wait_until_it_answers(operator)
            operator.log_in(NAME, self._password)
            yield operator
        finally:
            operator.close()
            self._stage.supervisor.stop("web")

    def cpu(self) -> float:
        """Seconds of processor that the web processes have used so far."""
        return cpu_of_server(self._pid)

    @contextmanager
    def statements(self) -> Iterator[list[Statement]]:
        """What the web process asks of PostgreSQL, in the list when the `with` ends."""
        found: list[Statement] = []
        start = self.log.stat().st_size
        yield found
        own = self.connection.info.backend_pid
        with self.log.open(encoding="utf-8", errors="replace") as file:
            file.seek(start)
            for pid, milliseconds, text in TIMED.findall(file.read()):
                # The pool asks for nothing at all, to see whether a connection is alive.
                if int(pid) != own and (words := text.strip()) and not words.startswith(BOUNDS):
                    found.append(Statement(float(milliseconds), words))

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Within it PostgreSQL logs every statement and how long it took."""
        self.connection.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
        self.connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.5)
        try:
            yield
        finally:
            self.connection.execute("ALTER SYSTEM RESET log_min_duration_statement")
            self.connection.execute("SELECT pg_reload_conf()")

    def _server(self, command: sql.Composed) -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(command)

    def _manage(self, *command: str) -> None:
        environment = {**os.environ, **self.environment, "DJANGO_SUPERUSER_PASSWORD": self._password}
        subprocess.run([*MANAGE, *command], env=environment, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)


def _wait_until_it_answers(operator: Operator) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            operator.get("/healthz")
            return
        except OSError:
            operator.close()
            if time.monotonic() > deadline:
                raise SystemExit("The web process does not start.") from None
            time.sleep(0.1)
