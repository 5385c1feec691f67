"""What a person is told when a command finds no server, or bad settings. manage.py uses it for each command."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from syncsvc.redis_connections import refusal
from syncsvc.visible import visible

REFUSED = 2
LOGIN = {"dbname", "user", "password", "host", "port"}
# These start or end the servers, or need none.
WITHOUT_SERVERS = frozenset(
    {"up", "down", "demo", "help", "version", "check", "makemigrations", "collectstatic", "diffsettings", "test"}
)


@contextmanager
def explained(argv: list[str]) -> Iterator[None]:
    """Ends the process with one line, and exit code 2, where settings, the database or Redis are of no use."""
    command = next((word for word in argv[1:] if not word.startswith("-")), "help")
    as_json = "--json" in argv
    try:
        if command not in WITHOUT_SERVERS and not {"--help", "-h"} & set(argv):
            _knock(as_json)
        yield
    except ImproperlyConfigured as error:
        _refuse("invalid", str(error), as_json)
    except OperationalError as error:
        _refuse("unavailable", f"PostgreSQL failed: {_why(error)}. {_advice('DATABASE_URL')}", as_json)
    except RedisError as error:
        trouble = f"refuses ({reason})" if (reason := refusal(error)) else "does not answer"
        _refuse("unavailable", f"Redis {trouble}. {_advice('REDIS_URL')}", as_json)


def _knock(as_json: bool) -> None:
    """Asks at the database's door first: the connection pool would wait for 10 seconds before it gives up."""
    database = settings.DATABASES["default"]
    host, port = str(database["HOST"] or "127.0.0.1"), int(str(database["PORT"] or 5432))
    if host.startswith("/"):  # a socket's folder
        return
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        where = f"PostgreSQL at {host}:{port} does not answer."
        _refuse("unavailable", f"{where} {_advice('DATABASE_URL')}", as_json)


def _advice(name: str) -> str:
    if name in os.environ or f"{name}_FILE" in os.environ:
        return f"Check that it runs, and {name}."
    return "Start the embedded servers with `make up`."


def _refuse(kind: str, message: str, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"kind": kind, "message": message}}))
    else:
        print(visible(message), file=sys.stderr)
    sys.exit(REFUSED)


def _why(error: OperationalError) -> str:
    """Of a pool that gave no connection the reason, which only a connection of its own tells."""
    if not isinstance(error.__cause__, PoolTimeout):
        return _first_line(error)
    wanted = {k: v for k, v in connection.get_connection_params().items() if k in LOGIN or k.startswith("ssl")}
    try:
        psycopg.connect(**wanted, connect_timeout=5).close()
    except psycopg.OperationalError as direct:
        return _first_line(direct)
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
