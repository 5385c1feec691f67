"""The application's role reads and writes rows; tables are the owner's, as which `migrate` logs in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from config.env import read_env_file
from syncsvc.management.embedded import Embedded
from syncsvc.management.stack import MANAGE
from syncsvc.management.supervisor import Supervisor
from syncsvc.store.roles import make_role, may_make_roles

NO_REDIS_NEEDED = {"REDIS_URL": "redis://elsewhere"}


class Server:
    """An embedded PostgreSQL whose folder an earlier version made: one role, a superuser, owns everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(run_dir=folder / "run", log_dir=folder / "log", say=print)
        self.settings: dict[str, str] = {}

    def start(self) -> None:
        embedded = Embedded(self.folder, supervisor=self.supervisor, environment=NO_REDIS_NEEDED, durable=False)
        self.settings = embedded.start()

    def manage(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.settings, **environment}
        env["DATA_DIR"] = str(self.folder)
        env = {name: value for name, value in env.items() if value != "unset"}
        return subprocess.run([*MANAGE, *command], env=env, capture_output=True, text=True, check=False)

    def owner(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.settings["DATABASE_OWNER_URL"], autocommit=True)

    def application(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.settings["DATABASE_URL"], autocommit=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("roles"))
    server.start()
    try:
        _make_as_an_earlier_version(server)
        server.start()
        done = server.manage("migrate", "--verbosity=0")
        assert done.returncode == 0, done.stderr
        yield server
    finally:
        server.supervisor.stop_all()


def _make_as_an_earlier_version(server: Server) -> None:
    """Migrated by the superuser alone, with an app, and an env file that knows one role."""
    url = server.settings["DATABASE_OWNER_URL"]
    done = server.manage("migrate", "--verbosity=0", DATABASE_URL=url, DATABASE_OWNER_URL="unset")
    assert done.returncode == 0, done.stderr
    with server.owner() as connection:
        connection.execute("INSERT INTO auth_group (name) VALUES ('from before')")
        connection.execute("DROP ROLE syncsvc_app")
    server.supervisor.stop_all()
    lines = [f"{k}={v}\n" for k, v in (server.settings | {"DATABASE_URL": url}).items() if k != "DATABASE_OWNER_URL"]
    (server.folder / "env").write_text("".join(lines))


def test_a_folder_of_an_earlier_version_goes_on_with_two_roles_and_its_rows(server: Server) -> None:
    written = read_env_file(server.folder / "env")
    assert "//syncsvc:" in written["DATABASE_OWNER_URL"]
    assert "//syncsvc_app:" in written["DATABASE_URL"]
    with server.application() as connection:
        assert connection.execute("SELECT FROM auth_group WHERE name = 'from before'").rowcount == 1
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_rows_of_every_table_can_be_written_and_those_of_migrations_read(server: Server) -> None:
    with server.application() as connection:
        rights = connection.execute(
            """SELECT relname, array_agg(verb) FROM pg_class,
                unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) verb
            WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND has_table_privilege(oid, verb)
            GROUP BY relname"""
        ).fetchall()
        found = dict(rights)
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (len(found),)
        assert sorted(found.pop("django_migrations")) == ["SELECT"]
        assert {tuple(sorted(verbs)) for verbs in found.values()} == {("DELETE", "INSERT", "SELECT", "UPDATE")}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (n int)",
        "CREATE TEMP TABLE mine (n int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION plpgsql VERSION '1.0'",
        "CREATE ROLE mine SUPERUSER",
        "CREATE DATABASE mine",
        "DROP TABLE syncsvc_app CASCADE",
        "TRUNCATE syncsvc_app CASCADE",
        "ALTER TABLE syncsvc_app ADD COLUMN mine int",
        "ALTER TABLE syncsvc_subscription DISABLE TRIGGER ALL",
        "ALTER FUNCTION syncsvc_delete_referring() RENAME TO mine",
        "CREATE OR REPLACE FUNCTION syncsvc_delete_referring() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "ALTER ROLE syncsvc_app SUPERUSER",
        "ALTER ROLE syncsvc PASSWORD 'mine'",
        "ALTER SYSTEM SET log_statement = 'all'",
        "GRANT syncsvc TO syncsvc_app",
        "SET ROLE syncsvc",
        "SET session_replication_role = replica",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
        "DELETE FROM django_migrations",
        "SELECT rolpassword FROM pg_authid",
        "SELECT * FROM pg_shadow",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_reload_conf()",
        "COPY auth_group TO PROGRAM 'cat'",
        "COPY auth_group FROM PROGRAM 'cat'",
        "COPY auth_group TO '/tmp/rows'",
        "COPY auth_group FROM '/etc/passwd'",
    ],
)
def test_the_application_may_not(server: Server, statement: str) -> None:
    with server.application() as connection, pytest.raises((errors.InsufficientPrivilege, errors.DuplicateObject)):
        connection.execute(statement)


def test_deletes_still_cascade_through_our_triggers_and_the_database_s_own_keys(server: Server) -> None:
    code = """
from syncsvc.models import *
from tests.factories import SubscriptionFactory
subscription = SubscriptionFactory()
DeliveredFile.objects.create(subscription=subscription, path=b"a", mode="100644", blob="a" * 40, epoch=1)
subscription.app.delete()
print(DeliveredFile.objects.count(), Subscription.objects.count())
"""
    done = server.manage("shell", "--no-imports", "--command", code)
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_tables_of_a_later_migration_are_covered(server: Server) -> None:
    with server.owner() as owner:
        owner.execute("CREATE TABLE later (id bigint GENERATED BY DEFAULT AS IDENTITY, n serial)")
        try:
            with server.application() as connection:
                connection.execute("INSERT INTO later DEFAULT VALUES")
                assert connection.execute("DELETE FROM later").rowcount == 1
        finally:
            owner.execute("DROP TABLE later")


def test_migrating_makes_the_role_that_is_missing_and_gives_it_another_password(server: Server) -> None:
    url = server.settings["DATABASE_URL"]
    with server.owner() as owner:
        for password in ("first", "se/cond"):
            given = url.partition("://")[0] + f"://another:{password.replace('/', '%2F')}@" + url.rpartition("@")[2]
            done = server.manage("migrate", "--verbosity=0", DATABASE_URL=given)
            assert done.returncode == 0, done.stderr
            with psycopg.connect(given) as connection:
                connection.execute("SELECT FROM auth_group")
        owner.execute("DROP OWNED BY another; DROP ROLE another")


def test_an_owner_who_may_make_roles_and_is_no_superuser_makes_one(server: Server) -> None:
    with server.owner() as owner:
        owner.execute("CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'maker'")
        rest = server.settings["DATABASE_URL"].rpartition("@")[2]
        with psycopg.connect(f"postgresql://maker:maker@{rest}", autocommit=True) as maker:
            assert may_make_roles(maker)
            for password in ("first", "second"):
                make_role(maker, "made", password)
                psycopg.connect(f"postgresql://made:{password}@{rest}").close()
        owner.execute("DROP ROLE made")
        owner.execute("DROP ROLE maker")


def test_an_owner_who_may_make_no_role_says_what_to_do(server: Server) -> None:
    """As where a provider runs the server: the owner of one database is no administrator."""
    host = server.settings["DATABASE_URL"].rpartition("@")[2].rpartition("/")[0]
    given = {
        "DATABASE_OWNER_URL": f"postgresql://plain:plain@{host}/plain",
        "DATABASE_URL": f"postgresql://app:x@{host}/plain",
    }
    with server.owner() as owner:
        owner.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        owner.execute("CREATE DATABASE plain OWNER plain")
        refused = server.manage("migrate", "--verbosity=0", **given)
        owner.execute("CREATE ROLE app LOGIN PASSWORD 'x'")
        done = server.manage("migrate", "--verbosity=0", **given)
        with psycopg.connect(given["DATABASE_URL"]) as connection:
            connection.execute("DELETE FROM auth_group")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE mine (n int)")
        owner.execute("DROP DATABASE plain WITH (FORCE)")
        owner.execute("DROP ROLE plain")
        owner.execute("DROP ROLE app")
    assert refused.returncode != 0
    assert "CREATE ROLE app LOGIN" in refused.stderr
    assert done.returncode == 0, done.stderr


def test_a_superuser_in_the_place_of_the_application_is_said(server: Server) -> None:
    said = server.manage("check", "--deploy").stderr
    assert "security.W" in said
    assert "syncsvc.W016" not in said
    said = server.manage("check", "--deploy", DATABASE_URL=server.settings["DATABASE_OWNER_URL"]).stderr
    assert "syncsvc.W016" in said


def test_another_database_than_that_of_make_up_is_not_migrated_as_the_owner_of_that_one(server: Server) -> None:
    """The owner's URL in .data/env is of the embedded server."""
    code = "from config.settings import *; print(DATABASE_OWNER_URL or 'none', DATABASE_OWNER)"
    given = {"DATABASE_URL": "postgresql://u@elsewhere/db", "DATABASE_OWNER_URL": "unset"}
    env = {**os.environ, **server.settings, **given, "DATA_DIR": str(server.folder)}
    del env["DATABASE_OWNER_URL"]
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["none", "{}"]
