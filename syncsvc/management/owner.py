"""Two roles of the database: the owner of the tables, for migrations, and the application's, for everything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection

from syncsvc.store.roles import grant_rows, make_role, may_make_roles, role_exists

# As Django names what it logs in with.
type Login = dict[str, Any]
LOGIN = ("HOST", "PORT", "USER", "PASSWORD", "OPTIONS")


@contextmanager
def as_owner() -> Iterator[Login | None]:
    """Logs in as the owner of the tables, and gives the application's login; None where it is the owner's own."""
    application = {name: connection.settings_dict[name] for name in LOGIN}
    if not settings.DATABASE_OWNER:
        yield None
        return
    _log_in({name: settings.DATABASE_OWNER[name] for name in LOGIN})
    try:
        yield application if application["USER"] not in ("", connection.settings_dict["USER"]) else None
    finally:
        _log_in(application)


def let_in(application: Login) -> None:
    """Called as the owner, after migrations: the application's role exists, and may read and write rows."""
    name, password = application["USER"], application["PASSWORD"]
    connection.ensure_connection()
    owner = connection.connection
    if may_make_roles(owner):
        if not role_exists(owner, name) or (password and not _may_log_in(application)):
            make_role(owner, name, password)
    elif not role_exists(owner, name):
        raise CommandError(
            f"The role {name} of DATABASE_URL does not exist, and that of DATABASE_OWNER_URL may not make it. "
            f"As an administrator: CREATE ROLE {name} LOGIN PASSWORD '…', then migrate again."
        )
    grant_rows(owner, name)


def _log_in(login: Login) -> None:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined, unused-ignore] # PostgreSQL's has it
    connection.settings_dict.update(login)


def _may_log_in(login: Login) -> bool:
    wanted = {"dbname": connection.settings_dict["NAME"], "user": login["USER"], "password": login["PASSWORD"]}
    wanted |= {"host": login["HOST"], "port": login["PORT"]}
    wanted |= {name: value for name, value in login["OPTIONS"].items() if name.startswith("ssl")}
    try:
        psycopg.connect(**wanted, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
