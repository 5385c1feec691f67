"""The whole system as real processes of its own, which a test may kill, stop and restart."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import redis

from syncsvc.management.embedded import Embedded
from syncsvc.management.process import Child, Program
from syncsvc.management.stack import BASE_DIR, MANAGE
from syncsvc.management.supervisor import Supervisor
from tests.acceptance.client import Client
from tests.acceptance.remote import Remote

# Short enough that what waits for a lease's or a wake-up's end is seen within seconds.
SETTINGS = {
    "GIT_ALLOW_LOCAL": "1",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "GIT_ALLOWED_NETWORKS": "127.0.0.0/8",
    "GIT_ALLOWED_PORTS": "*",
    "LEASE_SECONDS": "3",
    "LEASE_RENEW_SECONDS": "0.5",
    "WEBHOOK_TIMEOUT": "1",
    "WEBHOOK_CONNECT_TIMEOUT": "1",
    "REQUEUE_AFTER": "2",
    "SWEEP_SECONDS": "0.2",
    "POLL_SECONDS": "1",
    "RETRY_DELAYS": ",".join(["0.3"] * 50),
    "RETRY_SLOW_SECONDS": "1",
    "CIRCUIT_COOLDOWN_SECONDS": "1",
    "CIRCUIT_COOLDOWN_MAX_SECONDS": "1",
    "CONTENT_CHUNK_BYTES": "4096",
    "MASS_DELETE_PERCENT": "100",
    "WORKER_THREADS": "8",
}
# Nothing may be stuck for longer than this, whatever happened.
SECONDS_TO_SYNC = 30.0
WORKERS = ("worker-1", "worker-2")
SCHEDULER = "scheduler"


def wait_for[T](look: Callable[[], T], what: Callable[[], object] | str, seconds: float = SECONDS_TO_SYNC) -> T:
    """Until `look` gives something true, which is returned; fails the test, saying `what`, where it does not."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)
    return found


class System:
    """Leaving it ends every process; where the test's own process is killed, the kernel ends them."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.clients: list[Client] = []
        self._running: set[str] = set()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self.settings = {
            **SETTINGS,
            "DATA_DIR": str(folder / "data"),
            "MIRROR_DIR": str(folder / "data" / "mirrors"),
            "WORKER_QUEUES": "",
            **settings,
        }
        self.supervisor = Supervisor(run_dir=folder / "run", log_dir=folder / "log", say=print)

    def __enter__(self) -> Self:
        try:
            servers = Embedded(self.folder / "data", supervisor=self.supervisor, environment={}).start()
            self.settings |= servers
            self.manage("migrate", "--verbosity=0")
            self.restart()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for client in self.clients:
            client.close()
        self._hang_up()
        self.supervisor.stop_all()

    # Processes

    def start(self, name: str, **environment: str) -> Child:
        """A worker, or a scheduler where the name begins so."""
        self.stop(name)
        self._running.add(name)
        command = ("scheduler",) if name.startswith(SCHEDULER) else ("worker", "--name", name)
        settings = {**self.settings, **environment}
        return self.supervisor.start(
            Program(name=name, command=(*MANAGE, *command), directory=BASE_DIR, environment=settings)
        )

    def heal(self) -> None:
        """Starts what does not run."""
        for name in (*WORKERS, SCHEDULER):
            if name not in self._running or self.child(name).poll() is not None:
                self.start(name)

    def child(self, name: str) -> Child:
        child = self.supervisor.child(name)
        assert child is not None
        return child

    def kill(self, *names: str) -> None:
        """kill -9, and nothing more."""
        for name in names:
            os.kill(self.child(name).pid, signal.SIGKILL)
        self.stop(*names)

    def stop(self, *names: str) -> None:
        for name in names:
            if name in self._running:
                self.supervisor.stop(name)
                self._running.discard(name)

    def restart(self, *names: str) -> None:
        for name in names or (*WORKERS, SCHEDULER):
            self.start(name)

    def kill_valkey(self) -> Callable[[], None]:
        """Ends Valkey with all that it holds; gives what starts it again."""
        child = self.child("valkey")
        program = child.program
        os.kill(child.pid, signal.SIGKILL)
        self.supervisor.stop("valkey")
        return lambda: self._started(program, self.redis.ping, redis.RedisError)

    def stop_postgres(self) -> Callable[[], None]:
        """Ends PostgreSQL as a crash does ("immediate shutdown"); gives what starts it again."""
        child = self.child("postgres")
        os.kill(child.pid, signal.SIGQUIT)
        wait_for(lambda: child.poll() is not None, "PostgreSQL did not end")
        self.supervisor.stop("postgres")
        return lambda: self._started(child.program, lambda: self.query("SELECT 1"), psycopg.OperationalError)

    def _started(self, program: Program, ask: Callable[[], object], away: type[Exception]) -> None:
        self.supervisor.start(program)

        def answers() -> bool:
            try:
                ask()
            except away:
                return False
            return True

        wait_for(answers, f"{program.name} does not answer")

    def log(self, name: str) -> str:
        return (self.supervisor.log_dir / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    # What it holds

    @property
    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.settings["REDIS_URL"], socket_timeout=2)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Over a connection that is kept: tests ask every few milliseconds, and each new one is a process."""
        known = self._connection
        try:
            return self._query(sql, values)
        except psycopg.OperationalError:
            self._hang_up()
            if known is None:
                raise
        return self._query(sql, values)  # PostgreSQL was started anew since the last question

    def _query(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(self.settings["DATABASE_URL"], autocommit=True, connect_timeout=5)
        cursor = self._connection.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [*MANAGE, *arguments], env={**os.environ, **self.settings}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, *commands: Sequence[str], pause: float = 0) -> "subprocess.Popen[str]":
        """Starts these commands, one after another in one process, `pause` seconds apart, and does not wait."""
        calls = [
            "import time",
            "from django.core.management import call_command",
            *(f"call_command(*{list(command)!r}); time.sleep({pause})" for command in commands),
        ]
        return subprocess.Popen(
            [*MANAGE, "shell", "--no-imports", "-c", "\n".join(calls)],
            env={**os.environ, **self.settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def add(self, apps: Sequence[Client], remotes: Sequence[Remote], *options: str, url: str = "") -> None:
        """Lets each of the apps, new or known, follow each of these new remotes: all in one process."""
        commands = [["repository_add", url or remote.url, "--name", remote.name, *options] for remote in remotes]
        new = [client for client in apps if client not in self.clients]
        commands += [["app_add", c.name, c.url, "--secret-file", str(c.secret_file)] for c in new]
        commands += [["subscribe", client.name, remote.name] for client in apps for remote in remotes]
        self.clients += new
        calls = f"from django.core.management import call_command\nfor c in {commands!r}: call_command(*c)"
        self.manage("shell", "--no-imports", "-c", calls)
        for remote in remotes:
            ((remote.id,),) = self.query("SELECT id::text FROM syncsvc_repository WHERE name = %s", remote.name)

    def client(self, name: str) -> Client:
        """A new app: the example receiver as a process of its own, behind a gate that the test can close."""
        return Client(name, self.folder, self.supervisor)

    def remote(self, name: str) -> Remote:
        return Remote(name, self.folder / f"{name}.git")

    # What a test waits for

    def poll_now(self, *remotes: Remote) -> None:
        """Makes their polls due. A poll that goes on may have read an older head: its end sets no later time."""
        due = "UPDATE syncsvc_repository SET due_at = now(), lease_token = NULL, lease_expires_at = NULL"
        self.query(f"{due} WHERE id = ANY(%s)", [r.id for r in remotes])

    def due_now(self, remote: Remote) -> None:
        """As if the time of another try had come: the scheduler wakes a worker for it."""
        due = "UPDATE syncsvc_subscription SET status = 'pending', due_at = now() WHERE repository_id = %s"
        self.query(due, remote.id)

    def unsettled(self, remotes: Iterable[Remote]) -> list[tuple[Any, ...]]:
        """The subscriptions that do not stand, synced and clean, at their remote's newest commit; open runs too."""
        heads = {remote.id: remote.head for remote in remotes}
        return self.query(
            """SELECT a.name, r.name, s.status, s.retry_count, s.error_kind, s.last_error, s.due_at - now(),
                      s.queued_at - now(), s.lease_expires_at - now(), n.commit
               FROM unnest(%s::uuid[], %s::text[]) AS remote (id, head)
               JOIN syncsvc_repository r ON r.id = remote.id
               JOIN syncsvc_subscription s ON s.repository_id = r.id JOIN syncsvc_app a ON a.id = s.app_id
               LEFT JOIN syncsvc_snapshot n ON n.id = s.clean_snapshot_id
               WHERE s.status <> 'synced' OR s.clean_epoch <> s.epoch OR n.commit IS DISTINCT FROM remote.head
                 OR EXISTS (SELECT FROM syncsvc_syncrun WHERE subscription_id = s.id AND outcome = '')""",
            list(heads),
            list(heads.values()),
        )

    def wait_until_synced(self, *remotes: Remote, seconds: float = SECONDS_TO_SYNC) -> None:
        """Until nothing is left to do for the newest commits; then the apps and the ledgers must equal git."""
        wait_for(lambda: not self.unsettled(remotes), lambda: self.unsettled(remotes), seconds)
        self.compare(*remotes)

    def compare(self, *remotes: Remote) -> None:
        """Byte for byte, mode for mode; and no row of the ledger in doubt."""
        for remote in remotes:
            expected = remote.files()
            tree = {path: (entry.mode, entry.sha) for path, entry in remote.ls_tree().items()}
            for name, subscription in self.query(
                """SELECT a.name, s.id FROM syncsvc_subscription s JOIN syncsvc_app a ON a.id = s.app_id
                   WHERE s.repository_id = %s""",
                remote.id,
            ):
                client = next(client for client in self.clients if client.name == name)
                assert client.files(remote.id) == expected
                rows = self.query(
                    "SELECT path, mode, blob, doubt_id FROM syncsvc_deliveredfile WHERE subscription_id = %s",
                    subscription,
                )
                assert [row for row in rows if row[3] is not None] == []
                assert {bytes(path): (mode, blob) for path, mode, blob, _ in rows} == tree

    def following(self, remote: Remote) -> list[Client]:
        rows = self.query(
            "SELECT a.name FROM syncsvc_subscription s JOIN syncsvc_app a ON a.id = s.app_id WHERE repository_id = %s",
            remote.id,
        )
        return [client for client in self.clients if (client.name,) in rows]

    def runs(self, remote: Remote) -> list[tuple[str, str, int]]:
        """(outcome, worker, requests) of its runs, in order."""
        return self.query(
            """SELECT outcome, worker, requests FROM syncsvc_syncrun u
               JOIN syncsvc_subscription s ON s.id = subscription_id WHERE repository_id = %s ORDER BY started_at""",
            remote.id,
        )

    def subscription(self, remote: Remote) -> str:
        """The id of its one subscription."""
        ((id,),) = self.query("SELECT id::text FROM syncsvc_subscription WHERE repository_id = %s", remote.id)
        return str(id)
