"""A Valkey of a test's own, which refuses in the ways that real ones do."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis

from syncsvc.management.embedded import free_port
from syncsvc.management.process import Program
from syncsvc.management.supervisor import Supervisor
from syncsvc.management.valkey import EmbeddedValkey

PASSWORD = "test"
NOWHERE = ("127.0.0.1", "1")


class OwnValkey:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._supervisor = Supervisor(run_dir=folder / "run", log_dir=folder / "log", say=print)
        self.url, self.redis = self._start("valkey", free_port())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.redis.close()
        self._supervisor.stop_all()

    def refuse(self, how: str) -> None:
        REFUSALS[how](self.redis)

    def accept(self) -> None:
        """Takes writes again, and has nothing."""
        redis = self.redis
        redis.execute_command("REPLICAOF", "NO", "ONE")
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
        for name, value in {
            "maxmemory": "0",
            "min-replicas-to-write": "0",
            "replica-serve-stale-data": "yes",
            "requirepass": PASSWORD,
        }.items():
            redis.config_set(name, value)
        redis.flushall()

    def fail_over(self) -> None:
        """Another server takes writes where this one listened; this one is its replica, with its connections open."""
        port = int(self.redis.get_connection_kwargs()["port"])
        old, elsewhere = self.redis, free_port()
        old.config_set("port", elsewhere)
        old.execute_command("REPLICAOF", *NOWHERE)
        self.url, self.redis = self._start("valkey-2", port)

    def _start(self, name: str, port: int) -> tuple[str, Redis]:
        folder = self._folder / name
        folder.mkdir()
        server = EmbeddedValkey(folder / "data", port=port, password=PASSWORD)
        program = server.program()
        program = Program(
            name=name, tier=1, command=program.command, directory=program.directory, prepare=program.prepare
        )
        server.wait_until_ready(self._supervisor.start(program))
        return server.url, Redis.from_url(server.url)


def _without_memory(redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", "1")


def _another_password(redis: Redis) -> None:
    redis.config_set("requirepass", "other")
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _without_primary(redis: Redis) -> None:
    redis.config_set("replica-serve-stale-data", "no")
    redis.execute_command("REPLICAOF", *NOWHERE)


REFUSALS: dict[str, Callable[[Redis], Any]] = {
    "a replica": lambda redis: redis.execute_command("REPLICAOF", *NOWHERE),
    "a replica without its primary": _without_primary,
    "no memory left": _without_memory,
    "too few replicas": lambda redis: redis.config_set("min-replicas-to-write", "1"),
    "another password": _another_password,
    "a user who may not write": lambda redis: redis.execute_command("ACL", "SETUSER", "default", "-@write"),
}
