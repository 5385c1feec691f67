"""Workers and scheduler as `make up` runs them, and the plain loop's workers: as many processes, as many threads."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from benchmarks.cpu import cpu_of, cpu_of_server
from benchmarks.stage import CHECKOUT, SECONDS, Stage
from syncsvc.management.process import Program
from syncsvc.management.stack import MANAGE

WORKERS = ("worker-1", "worker-2")
SCHEDULER = "scheduler"
LOOK_SECONDS = 0.05


def wait_for(over: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not over():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} took over {SECONDS} s.")
        time.sleep(LOOK_SECONDS)


class Processes:
    """They run until the `with` ends; what each has used of the processor is known meanwhile."""

    def __init__(self, stage: Stage, commands: dict[str, list[str]]) -> None:
        self.stage, self._supervisor = stage, stage.supervisor
        self._commands = commands
        self._pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        for name, command in self._commands.items():
            program = Program(name=name, command=tuple(command), directory=CHECKOUT)
            self._pids[name] = self._supervisor.start(program).pid
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for name in reversed(self._commands):
            self._supervisor.stop(name)

    def pid(self, name: str) -> int:
        return self._pids[name]

    def cpu(self) -> dict[str, float]:
        """Seconds so far, by what they were used for."""
        used = {name: cpu_of(pid) for name, pid in self._pids.items()}
        workers = [cpu for name, cpu in used.items() if name != SCHEDULER]
        servers = {name: self._supervisor.child(name) for name in ("postgres", "valkey")}
        return {
            "the workers' Python": sum(cpu.own for cpu in workers),
            "their git": sum(cpu.children for cpu in workers),
            "PostgreSQL": cpu_of_server(servers["postgres"].pid) if servers["postgres"] else 0.0,
            "Valkey": cpu_of(servers["valkey"].pid).own if servers["valkey"] else 0.0,
            "the scheduler": sum(used[SCHEDULER]) if SCHEDULER in used else 0.0,
            "the receiver": self.stage.receiver.cpu_seconds(),
        }


class System(Processes):
    """syncsvc: two worker processes, and the scheduler."""

    def __init__(self, stage: Stage) -> None:
        commands = {name: [*MANAGE, "worker", "--name", name] for name in WORKERS}
        super().__init__(stage, {**commands, SCHEDULER: [*MANAGE, "scheduler"]})

    def __enter__(self) -> Self:
        from django.conf import settings
        from redis import Redis

        from syncsvc.sync.health import WORKERS_KEY

        with Redis.from_url(settings.REDIS_URL) as redis:
            redis.delete(WORKERS_KEY)
            super().__enter__()
            wait_for(lambda: redis.zcard(WORKERS_KEY) == len(WORKERS), "Starting the workers")
        return self

    def retry(self) -> Any:
        """A bulk retry of all that is failed, on its way."""
        from syncsvc.models import Operation
        from syncsvc.operations import bulk
        from syncsvc.operations.asker import Asker
        from syncsvc.operations.scope import Scope

        asker = Asker(name="make bench", source=Operation.Source.COMMAND)
        return bulk.start(Scope(kind=Operation.Kind.RETRY), asker, confirmed=True)

    def retry_all(self) -> None:
        """The same, to its end."""
        operation = self.retry()

        def over() -> bool:
            operation.refresh_from_db()
            return bool(operation.ended)

        wait_for(over, "A bulk retry")
        assert operation.succeeded == operation.total, f"{operation.succeeded} of {operation.total} succeeded"


class PlainLoop(Processes):
    """The workers of `benchmarks.plain_loop`."""

    def __init__(self, stage: Stage) -> None:
        from django.conf import settings

        options = ["--pool=threads", f"--concurrency={settings.WORKER_THREADS}", "--loglevel=WARNING"]
        celery = [sys.executable, "-m", "celery", "--app=benchmarks.plain_loop", "worker", *options]
        super().__init__(stage, {f"plain-{n}": [*celery, f"--hostname=plain-{n}@%h"] for n in range(len(WORKERS))})

    def __enter__(self) -> Self:
        from benchmarks.plain_loop import app

        super().__enter__()
        wait_for(lambda: len(app.control.ping(timeout=0.5) or ()) == len(WORKERS), "Starting the plain loop's workers")
        return self
