"""Embedded servers that root starts run as users of their own, who own their folders and nothing else."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.env import read_env_file
from syncsvc.management.account import FIRST, LAST, Account
from syncsvc.management.embedded import Embedded
from syncsvc.management.supervisor import Supervisor

NOBODY = pwd.getpwnam("nobody").pw_uid
as_root = pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="only root changes its user")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(run_dir=tmp_path / "run", log_dir=tmp_path / "log", say=print)
    yield supervisor
    supervisor.stop_all()


def start(folder: Path, supervisor: Supervisor) -> dict[str, str]:
    return Embedded(folder, supervisor=supervisor, environment={}, durable=False).start()


def uids_of(supervisor: Supervisor) -> dict[str, int]:
    children = {name: supervisor.child(name) for name in ("postgres", "valkey")}
    return {name: os.stat(f"/proc/{child.pid}").st_uid for name, child in children.items() if child}


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


@as_root
def test_each_server_has_a_user_without_a_name_and_owns_its_folder_alone(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    start(tmp_path, supervisor)
    uids = uids_of(supervisor)
    assert len(set(uids.values())) == 2
    for name, uid in uids.items():
        assert FIRST <= uid <= LAST
        with pytest.raises(KeyError):
            pwd.getpwuid(uid)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
        assert owners(tmp_path / name) == {uid}
        child = supervisor.child(name)
        assert child is not None
        status = dict(line.split(":", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
        assert status["Groups"].split() == []
        assert status["NoNewPrivs"].strip() == "1"
        for capabilities in ("CapEff", "CapPrm", "CapBnd"):
            assert int(status[capabilities], 16) & ~(1 << 2 | 1 << 1) == 0
    assert (tmp_path / "env").stat().st_uid == 0


@as_root
def test_a_folder_of_an_earlier_version_is_taken_over_with_its_rows(tmp_path: Path, supervisor: Supervisor) -> None:
    """`nobody` had PostgreSQL's, and root Valkey's."""
    with psycopg.connect(start(tmp_path, supervisor)["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    supervisor.stop_all()
    for name, uid in (("postgres", NOBODY), ("valkey", 0)):
        for path in (tmp_path / name, *(tmp_path / name).rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)

    with psycopg.connect(start(tmp_path, supervisor)["DATABASE_OWNER_URL"]) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    for name, uid in uids_of(supervisor).items():
        assert owners(tmp_path / name) == {uid}
    assert read_env_file(tmp_path / "env").keys() >= {"DATABASE_URL", "DATABASE_OWNER_URL"}


@as_root
def test_what_the_former_owner_linked_into_its_folder_is_not_given_away(tmp_path: Path) -> None:
    folder, ours = tmp_path / "postgres", tmp_path / "ours"
    folder.mkdir()
    for name in ("hard", "soft"):
        (tmp_path / name).write_text("ours")
    os.link(tmp_path / "hard", folder / "hard")
    (folder / "soft").symlink_to(tmp_path / "soft")
    ours.mkdir()
    (folder / "folder").symlink_to(ours)
    (ours / "file").write_text("ours")
    os.chown(folder, NOBODY, NOBODY)
    os.chown(folder / "soft", NOBODY, NOBODY, follow_symlinks=False)

    Account(FIRST).take_over(folder)

    assert folder.stat().st_uid == FIRST
    assert (folder / "soft").lstat().st_uid == FIRST
    assert {path.stat().st_uid for path in (tmp_path / "hard", tmp_path / "soft", ours, ours / "file")} == {0}


def test_servers_have_different_users_and_keep_them(tmp_path: Path) -> None:
    accounts = [Account.of(tmp_path, number) for number in (0, 1)]
    assert accounts == [Account.of(tmp_path, number) for number in (0, 1)]
    if os.geteuid() == 0:
        assert accounts[0] != accounts[1]
    else:
        assert accounts == [Account(None), Account(None)]
        assert accounts[0].prefix(Path("/bin/true"), tmp_path) == ()
