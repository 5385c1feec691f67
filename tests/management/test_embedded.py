"""The embedded servers come up again whatever happened to them, with their data, and keep their secrets."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from config.env import read_env_file
from syncsvc.management.embedded import Embedded, free_port, port_is_free
from syncsvc.management.process import read_pid_file, started_at
from syncsvc.management.supervisor import StartError, Supervisor
from tests.management.test_process import wait_for

KILLED = """
import os, signal, sys
from pathlib import Path
from syncsvc.management.embedded import Embedded
from syncsvc.management.supervisor import Supervisor
folder = Path(sys.argv[1])
supervisor = Supervisor(run_dir=folder / "run", log_dir=folder / "log", say=print)
Embedded(folder, supervisor=supervisor, environment={}, durable=False).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
NO_REDIS_NEEDED = {"REDIS_URL": "redis://elsewhere"}


@contextmanager
def running(
    folder: Path, environment: Mapping[str, str] = NO_REDIS_NEEDED
) -> Iterator[tuple[Supervisor, dict[str, str]]]:
    supervisor = Supervisor(run_dir=folder / "run", log_dir=folder / "log", say=print)
    try:
        yield supervisor, Embedded(folder, supervisor=supervisor, environment=environment, durable=False).start()
    finally:
        supervisor.stop_all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose servers have run, and whose database holds a table with one row; the tests hand it on."""
    folder = tmp_path_factory.mktemp("kept")
    with running(folder) as (_, settings), psycopg.connect(settings["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        connection.execute("GRANT SELECT ON kept TO syncsvc_app")
    return folder


def still_kept(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_secrets_are_private_and_stay_the_same(kept: Path) -> None:
    before = read_env_file(kept / "env")
    assert {"SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL"} <= before.keys()
    assert (kept / "env").stat().st_mode & 0o777 == 0o600
    assert kept.stat().st_mode & 0o066 == 0
    assert (kept / "postgres").stat().st_mode & 0o077 == 0
    with running(kept) as (_, settings):
        assert settings == before
        assert still_kept(settings["DATABASE_URL"])


def test_no_password_no_entry_and_none_in_argv(folder: Path) -> None:
    folder.mkdir()
    with running(folder, {}) as (supervisor, settings):
        url = settings["DATABASE_URL"]
        password = url.split(":")[2].partition("@")[0]
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.replace(password, "wrong"))
        with (
            redis.Redis.from_url(settings["REDIS_URL"].replace("//:", "//:x")) as client,
            pytest.raises(redis.RedisError),
        ):
            client.ping()
        for name in ("postgres", "valkey"):
            child = supervisor.child(name)
            assert child is not None
            command = " ".join(child.program.command)
            assert password not in command
            assert settings["REDIS_URL"].partition("@")[0].rpartition(":")[2] not in command


def test_after_a_kill_of_everything_the_next_start_finds_its_data(kept: Path) -> None:
    with running(kept) as (supervisor, _):
        child = supervisor.child("postgres")
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        wait_for(lambda: child.poll() is not None)
    with running(kept) as (_, settings):
        assert still_kept(settings["DATABASE_URL"])


def test_a_database_that_dies_is_started_again_where_it_was(kept: Path) -> None:
    with running(kept) as (supervisor, settings):
        child = supervisor.child("postgres")
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)

        def answers() -> bool:
            supervisor.tend()
            try:
                return still_kept(settings["DATABASE_URL"])
            except psycopg.OperationalError:
                return False

        wait_for(lambda: child.poll() is not None)
        wait_for(answers, 20)


def test_servers_whose_supervisor_was_killed_do_not_stand_in_the_way(kept: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(kept)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with running(kept, {}) as (_, settings):
        assert still_kept(settings["DATABASE_URL"])


def test_a_server_left_running_without_a_pid_file_of_ours_is_ended_first(kept: Path) -> None:
    with running(kept) as (first, _):
        left = first.child("postgres")
        assert left is not None
        (kept / "run" / "postgres.pid").unlink()
        with running(kept) as (_, settings):
            assert left.poll() == 0
            assert still_kept(settings["DATABASE_URL"])


def test_a_lock_file_whose_pid_now_belongs_to_another_process_is_no_obstacle(kept: Path) -> None:
    lines = [str(os.getpid()), str(kept / "postgres" / "data"), str(int(time.time())), "1", "", "", "", "ready"]
    (kept / "postgres" / "data" / "postmaster.pid").write_text("\n".join(lines))
    with running(kept) as (_, settings):
        assert still_kept(settings["DATABASE_URL"])


def test_half_an_initdb_is_thrown_away(folder: Path) -> None:
    half = folder / "postgres" / "new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with running(folder) as (_, settings), psycopg.connect(settings["DATABASE_URL"]):
        assert not half.exists()


def test_a_port_that_another_program_took_meanwhile_is_given_up(kept: Path) -> None:
    port = int(read_env_file(kept / "env")["DATABASE_URL"].rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)), running(kept) as (_, settings):
        assert f":{port}/" not in settings["DATABASE_URL"]
        assert still_kept(settings["DATABASE_URL"])


def test_a_data_folder_that_lost_its_secrets_is_not_guessed_at(kept: Path) -> None:
    (kept / "env").rename(kept / "lost")
    try:
        with pytest.raises(StartError, match="Put the file back, or start anew"), running(kept):
            pass
    finally:
        (kept / "lost").rename(kept / "env")


def test_servers_that_are_given_are_not_started(folder: Path) -> None:
    folder.mkdir()
    given = {"DATABASE_URL_FILE": "/run/secrets/database", "REDIS_URL": "redis://elsewhere"}
    with running(folder, given) as (_, settings):
        assert settings.keys() == {"SECRET_KEY", "ENCRYPTION_KEYS"}
        assert not (folder / "postgres").exists()
        assert not list((folder / "run").iterdir())


def test_a_free_port_is_free_until_someone_listens() -> None:
    port = free_port()
    assert port_is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)


def test_nothing_is_left_running(folder: Path) -> None:
    folder.mkdir()
    with running(folder, {}):
        found = [read_pid_file(file) for file in (folder / "run").glob("*.pid")]
    assert len(found) == 2
    assert all(entry and started_at(entry[0]) is None for entry in found)
