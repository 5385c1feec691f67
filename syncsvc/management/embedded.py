"""The embedded servers and generated secrets of a checkout: what `.data/env` says, and how it comes to be so."""

import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography.fernet import Fernet

from config.env import read_env_file
from syncsvc.management.postgres import EmbeddedPostgres
from syncsvc.management.process import end_leftover
from syncsvc.management.supervisor import StartError, Supervisor
from syncsvc.management.valkey import EmbeddedValkey


def make_data_dir(data_dir: Path) -> None:
    """Private to its owner; as root it may be passed through (not listed), because PostgreSQL runs as another user."""
    data_dir.mkdir(exist_ok=True)
    data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)


class Embedded:
    """Starts the servers whose URL is not given in `environment`, and keeps where they listen in `data_dir`/env.

    `durable=False` is for tests: faster, and lost with the machine.
    """

    def __init__(
        self, data_dir: Path, *, supervisor: Supervisor, environment: Mapping[str, str], durable: bool = True
    ) -> None:
        self.file = data_dir / "env"
        self._data_dir, self._supervisor, self._given, self._durable = data_dir, supervisor, environment, durable

    def start(self) -> dict[str, str]:
        """Starts them, waits until they answer, and gives the settings of `data_dir`/env."""
        make_data_dir(self._data_dir)
        settings = read_env_file(self.file)
        settings.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
        settings.setdefault("ENCRYPTION_KEYS", Fernet.generate_key().decode())
        if not _given(self._given, "DATABASE_URL"):
            self._start_postgres(settings)
        if not _given(self._given, "REDIS_URL"):
            self._start_valkey(settings)
        self._write(settings)
        return settings

    def _start_postgres(self, settings: dict[str, str]) -> None:
        directory = self._data_dir / "postgres"
        if (directory / "data").exists() and "DATABASE_URL" not in settings:
            raise StartError(
                f"{self.file} is gone, and with it the password of {directory} and the key to what is encrypted there. "
                f"Put the file back, or start anew: mv {self._data_dir} {self._data_dir}.old"
            )
        end_leftover(self._supervisor.run_dir / "postgres.pid")
        # A folder of an earlier version has one role, which owns everything; its password is the owner's from now on.
        password, port = _remembered(settings.get("DATABASE_OWNER_URL") or settings.get("DATABASE_URL"))
        application_password = _password(settings.get("DATABASE_OWNER_URL") and settings.get("DATABASE_URL"))
        postgres = EmbeddedPostgres(
            directory,
            port=port,
            password=password,
            application_password=application_password,
            durable=self._durable,
        )
        settings["DATABASE_URL"], settings["DATABASE_OWNER_URL"] = postgres.url, postgres.owner_url
        self._write(settings)  # before initdb: a cluster whose password is lost would be of no use
        postgres.wait_until_ready(self._supervisor.start(postgres.program()))

    def _start_valkey(self, settings: dict[str, str]) -> None:
        end_leftover(self._supervisor.run_dir / "valkey.pid")
        password, port = _remembered(settings.get("REDIS_URL"))
        valkey = EmbeddedValkey(self._data_dir / "valkey", port=port, password=password)
        settings["REDIS_URL"] = valkey.url
        self._write(settings)
        valkey.wait_until_ready(self._supervisor.start(valkey.program()))

    def _write(self, settings: Mapping[str, str]) -> None:
        new = self.file.with_suffix(".new")
        lines = ["# Written by `make up`. Secrets: keep this file, show it to nobody.\n"]
        lines += [f"{name}={value}\n" for name, value in settings.items()]
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.file)


def _given(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def _remembered(url: str | None) -> tuple[str, int]:
    """Password and port of the last start; a new port where another program has taken it since."""
    parts = urlsplit(url or "")
    return _password(url), parts.port if parts.port and port_is_free(parts.port) else free_port()


def _password(url: str | None) -> str:
    """That of a URL, or a new one."""
    return unquote(urlsplit(url or "").password or "") or secrets.token_urlsafe(24)


def port_is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
