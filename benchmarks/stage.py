"""What a benchmark runs on: embedded servers of its own, a receiver, repositories, and contestants as processes."""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import django
from django.core.management import call_command

from benchmarks.memory import anonymous_bytes_below
from syncsvc.management.embedded import Embedded
from syncsvc.management.supervisor import Supervisor
from tests.gitrepo import GitRepo

SECONDS = 300  # nothing that is measured may take longer
CHECKOUT = Path(__file__).resolve().parent.parent


class Contestant:
    """A process that speaks `benchmarks.contestant`'s protocol."""

    def __init__(self, *command: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=CHECKOUT,
                env={**os.environ, **(environment or {})},
            )
        self._name, self._log = command[0], log
        self.pid = self._process.pid
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind:
            self._process.kill()
        self._process.communicate(timeout=30)

    def start(self, *on: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, on)).encode() + b"\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, float]:
        result: dict[str, float] = self._read()
        return result

    def go(self, *on: object) -> float:
        """Seconds that one go took."""
        began = time.perf_counter()
        self.start(*on)
        self.finish()
        return time.perf_counter() - began

    def _read(self) -> Any:
        assert self._process.stdout is not None
        alarm = threading.Timer(SECONDS, self._process.kill)
        alarm.start()
        try:
            line = self._process.stdout.readline()
        finally:
            alarm.cancel()
        if not line:
            raise SystemExit(f"{self._name} ended, or took over {SECONDS} s:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)


class Receiver:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receiver"], stdout=subprocess.PIPE, cwd=CHECKOUT
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._port}/hook"

    def requests(self) -> int:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request("GET", "/")
        counted = connection.getresponse().read()
        connection.close()
        return int(counted.split()[0])

    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self._process.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Stage:
    """Everything lies in one temporary folder and ends with the `with`."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._repositories: dict[str, GitRepo] = {}

    def __enter__(self) -> Self:
        self.folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="syncsvc-bench-")))
        self._start_servers()
        self.receiver = Receiver()
        self._exit.callback(self.receiver.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        from django.db import connection

        connection.close()
        if connection.pool is not None:  # type: ignore[attr-defined]
            connection.close_pool()  # type: ignore[attr-defined]
        self._exit.close()

    def _start_servers(self) -> None:
        """As `make up` starts them: PostgreSQL syncs every commit to the disk."""
        self.supervisor = Supervisor(run_dir=self.folder / "run", log_dir=self.folder / "log", say=print)
        self._exit.callback(self.supervisor.stop_all)
        settings = Embedded(self.folder, supervisor=self.supervisor, environment={}).start()
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ.pop(name, None)
            os.environ.pop(name.upper(), None)
        # Benchmarks make databases and read the server's log.
        os.environ |= settings | {"DATABASE_URL": settings["DATABASE_OWNER_URL"]}
        os.environ |= {
            "DATA_DIR": str(self.folder),
            "MIRROR_DIR": str(self.folder / "mirrors"),
            "GIT_ALLOW_LOCAL": "1",
            "GIT_ALLOWED_NETWORKS": "127.0.0.0/8",
            "GIT_ALLOWED_PORTS": "*",
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        django.setup()
        call_command("migrate", interactive=False, verbosity=0)

    def repository(self, files: int, size: int) -> GitRepo:
        """A remote of that many files of that many bytes, 100 in a folder; the same one each time."""
        name = f"{files}-files-of-{size}"
        if name not in self._repositories:
            repo = GitRepo(self.folder / f"{name}.git")
            repo.commit({path_of(n): content_of(n, size) for n in range(files)})
            repo.git("repack", "-a", "-d", "-q")
            self._repositories[name] = repo
        return self._repositories[name]

    def subscribe(self, repo: GitRepo, *, apps: int = 1, max_batch: int = 1) -> list[uuid.UUID]:
        """A repository of syncsvc's that nobody had before, and so many apps that follow it."""
        from syncsvc.models import App, Repository, Subscription

        name = uuid.uuid4().hex
        repository = Repository.objects.create(name=name, url=str(repo.path))
        made = []
        for number in range(apps):
            app = App.objects.create(name=f"{name}-{number}"[2:], url=self.receiver.url, max_batch=max_batch)
            made.append(Subscription.objects.create(app=app, repository=repository).id)
        return made

    def mirror_of(self, subscription_id: uuid.UUID) -> Path:
        from syncsvc.models import Subscription

        repository_id = Subscription.objects.values_list("repository_id", flat=True).get(id=subscription_id)
        return self.folder / "mirrors" / str(repository_id)

    def ask(self, subscription_id: uuid.UUID) -> None:
        """What `manage.py sync` does before a worker gets to it."""
        from syncsvc.models import Subscription, Trigger
        from syncsvc.sync.asking import ask_for_runs

        ask_for_runs(Subscription.objects.filter(id=subscription_id), Trigger.SYNC, asked_by="make bench")

    def settle_down(self) -> None:
        """No contestant pays for what another left to write: a checkpoint, and the disk's queue."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")
        os.sync()

    def worker(self, environment: Mapping[str, str] | None = None) -> Contestant:
        """One that has run before, as all but a worker's first run find it."""
        worker = Contestant("benchmarks.worker", log=self.folder / "worker.log", environment=environment)
        worker.go(*self.subscribe(self.repository(100, 256)))
        return worker

    def bare_loop(self, repo: GitRepo) -> Contestant:
        from syncsvc.models import App

        window = App._meta.get_field("max_in_flight").default
        words = ["benchmarks.bare_loop", str(repo.path), self.receiver.url, str(window)]
        return Contestant(*words, log=self.folder / "bare_loop.log")

    def plain_way(self, repo: GitRepo, most: int) -> Contestant:
        self.subscribe(repo)
        words = ["benchmarks.plain_way", str(repo.path), self.receiver.url, str(most)]
        return Contestant(*words, log=self.folder / "plain_way.log")


def path_of(number: int) -> str:
    return f"folder-{number // 100:04}/page-{number:06}.md"


def content_of(number: int, size: int, version: int = 0) -> bytes:
    """Text of which no two files have the same, and which compresses about as text does."""
    randomly = random.Random(f"{number}.{version}")
    line = f"Page {number}, version {version}: {randomly.randbytes(600).hex()}\n".encode()
    return (line * (size // len(line) + 1))[:size]


@contextmanager
def watched_children(pid: int) -> Iterator[list[int]]:
    """The peak of the memory of a process's children, as one number in the list when the `with` ends."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], anonymous_bytes_below(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
