"""`make demo CHECK=1` as a person runs it: real processes, on a small repository with odd content."""

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncsvc.management.demo_check import compare
from syncsvc.management.demo_receiver import DemoReceiver, ReceiverClient
from syncsvc.management.demo_source import GitFailedError, Source, find_source, repository_with
from syncsvc.management.demo_trouble import (
    A_SECOND,
    CRAWLS,
    HICCUPS,
    REJECTED,
    THROTTLES,
    Spoiled,
    Trouble,
    paths_of,
)
from syncsvc.management.embedded import free_port
from syncsvc.management.stack import BASE_DIR
from syncsvc.management.supervisor import StartError, Supervisor
from tests.gitrepo import Executable, GitRepo, Submodule, Symlink

RECEIVER = BASE_DIR / "examples" / "receiver" / "receiver.py"
ODD: dict[str | bytes, Any] = {
    "plain.txt": b"text\n",
    "crlf.txt": b"a\r\nb\r\n",
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "large.bin": os.urandom(1_500_000),
    "run.sh": Executable(b"#!/bin/sh\n"),
    "link": Symlink(b"../../etc/passwd"),
    "sub": Submodule("1" * 40),
    "with space/new\nline/quote\"'.md": b"odd\n",
    "emoji-\N{PARTY POPPER}.md": b"odd\n",
    b"not-utf8-\xff\xfe": b"odd\n",
    "%FF": b"odd\n",
    "/".join(["d" * 200] * 11): b"too long a path\n",
}
# What points the tests at their own servers, or tells git and syncsvc what a fresh checkout would not.
NETWORKS = ("WEBHOOK_ALLOWED_NETWORKS", "GIT_ALLOWED_NETWORKS", "GIT_ALLOWED_PORTS")
OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENCRYPTION_KEYS", "MIRROR_DIR", "GIT_ALLOW_LOCAL")


def demo(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in (*OURS, *NETWORKS)}
    return subprocess.run(
        [sys.executable, "manage.py", "demo", "--workers=1", f"--port={free_port()}", *arguments],
        cwd=BASE_DIR,
        env=environment | {"DATA_DIR": str(data_dir)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def differences(data_dir: Path, source: Source, commit: str) -> list[str]:
    """What a comparison says of the store that a demo left."""
    supervisor = Supervisor(run_dir=data_dir / "run", log_dir=data_dir / "log", say=print)
    receiver = DemoReceiver(data_dir / "demo", program=RECEIVER)
    receiver.start(supervisor)
    try:
        with closing(sqlite3.connect(receiver.store)) as store:
            ((repository,),) = store.execute("SELECT id FROM repositories").fetchall()
        with ReceiverClient(receiver.port) as client:
            return compare(source, commit, client, repository).problems
    finally:
        supervisor.stop_all()


def test_the_demo_delivers_everything_and_its_check_finds_every_difference(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "odd repository")
    commit = repo.commit(ODD)
    data_dir = tmp_path / "data"
    done = demo(data_dir, f"--repo={repo.path}", "--check", "--timeout=90")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("demo: 11 of 11 files delivered and verified in ") for line in lines)
    exactly = f"demo: the receiver holds exactly the 11 files of commit {commit[:12]}, byte for byte and mode for mode"
    assert lines[-1] == f"{exactly} (left out: 1 submodule, 1 long path)"
    assert (data_dir / "demo" / "secret").stat().st_mode & 0o777 == 0o600
    assert (data_dir / "demo" / "secret").read_text().strip() not in done.stdout + done.stderr
    assert not list((data_dir / "run").glob("*.pid"))

    source = find_source(str(repo.path), None, checkout=BASE_DIR)
    assert differences(data_dir, source, commit) == []
    with closing(sqlite3.connect(data_dir / "demo" / "files.sqlite")) as store, store:
        content = "(SELECT content FROM paths WHERE path = CAST('plain.txt' AS BLOB))"
        store.execute(f"UPDATE contents SET bytes = x'74657874ff' WHERE content = {content}")  # noqa: S608
        store.execute("UPDATE paths SET mode = '100644' WHERE path = CAST('run.sh' AS BLOB)")
        store.execute("DELETE FROM paths WHERE path = CAST('empty' AS BLOB)")
    repo.commit({"%FF": None, "crlf.txt": b"a\nb\n"})
    assert sorted(differences(data_dir, source, repo.head)) == [
        "b'%FF': the receiver has it, git has not",
        f"b'crlf.txt': blob {repo.ls_tree(commit)[b'crlf.txt'].sha} of 6 bytes, in git {repo.blob(b'a\nb\n')} of 4",
        "b'empty': git has it, the receiver has not",
        "b'plain.txt': the receiver's bytes are not those of its blob",
        "b'run.sh': mode 100644, in git 100755",
    ]


def test_what_fails_is_said_and_is_exit_code_1(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "remote")
    repo.commit({"a": b"a\n"})
    done = demo(tmp_path / "data", f"--repo={repo.path}", "--branch=missing", "--check", "--timeout=60")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "demo: failed: git_not_found: " in done.stdout


def test_why_nothing_arrives_is_said_while_it_is_tried_again(tmp_path: Path) -> None:
    done = demo(tmp_path / "data", "--repo=http://127.0.0.1:1/a/b.git", "--check", "--timeout=4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("demo: not yet: git_unreachable: The remote cannot be reached") == 1
    assert "demo: failed: not everything arrived within 4 s. git_unreachable: " in done.stdout


def test_a_folder_that_is_no_repository_is_said_before_anything_starts(tmp_path: Path) -> None:
    done = demo(tmp_path / "data", f"--repo={tmp_path}")
    assert done.returncode == 2
    assert f"{tmp_path} is no git repository. Name another repository: make demo REPO=" in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_the_checkout_is_shown_at_its_current_branch(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "checkout", branch="work")
    commit = repo.commit({"folder/a": b"a\n"})
    source = find_source(None, None, checkout=repo.path)
    assert source == Source(str(repo.path), "work")
    assert find_source(None, "other", checkout=repo.path).branch == "other"
    repo.git("update-ref", "--no-deref", "HEAD", commit)
    assert find_source(None, None, checkout=repo.path).branch == ""


def test_a_checkout_without_commits_or_inside_another_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="has no commit on its current branch: commit something"):
        find_source(None, None, checkout=GitRepo(tmp_path / "new").path)
    subprocess.run(["git", "init", "-q", tmp_path / "outer"], check=True)
    (tmp_path / "outer" / "inner").mkdir()
    with pytest.raises(StartError, match="no git repository of its own"):
        find_source(None, None, checkout=tmp_path / "outer" / "inner")


def test_urls_are_taken_as_they_are_and_nonsense_is_refused(tmp_path: Path) -> None:
    assert find_source("https://git.example.com/a/b/", "v2", checkout=tmp_path) == Source(
        "https://git.example.com/a/b", "v2"
    )
    with pytest.raises(StartError, match="no folder here, and no URL"):
        find_source("./nothing", None, checkout=tmp_path)


def test_a_commit_that_is_not_on_this_machine_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(GitFailedError), repository_with(Source("git://127.0.0.1:1/a/b"), "1" * 40):
        pass


def test_on_a_bad_day_everything_but_the_rejected_files_arrives(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "remote")
    repo.commit({f"folder/{number:03}": b"%d\n" % number for number in range(150)})
    data_dir = tmp_path / "data"
    done = demo(data_dir, f"--repo={repo.path}", "--trouble=0.1", "--check", "--timeout=120")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    (arrived,) = [line for line in lines if " of 150 files arrived in " in line]
    assert arrived.startswith("demo: 147 of 150 ")
    assert re.search(r"throttled [1-9]\d* times", arrived)
    (rejected,) = [line for line in lines if line.startswith("demo: these 3 are rejected: ")]
    assert sorted(re.findall(r"\((\d+)\)", rejected)) == ["422", "422", "500"]
    assert "the other 147 of commit" in lines[-1]


def test_each_kind_of_trouble_has_its_time_and_bad_files_have_all_of_it() -> None:
    trouble = Trouble()
    paths = [b"%d" % number for number in range(max(REJECTED))]

    def statuses(start: float, count: int) -> Counter[int]:
        met = [trouble.meets([b"good"], start + number / count) for number in range(count)]
        return Counter(spoiled.status or (-1 if spoiled.resets else 0) for spoiled in met)

    assert trouble.meets([], 0) == Spoiled()
    first = [trouble.meets([path], 100.0) for path in paths]
    assert [spoiled.status for spoiled in first if spoiled.status] == list(REJECTED.values())
    assert statuses(101, 100) == {0: A_SECOND, 429: 100 - A_SECOND}
    assert statuses(100 + THROTTLES, 100) == {0: 100}
    assert trouble.meets([b"good"], 101 + THROTTLES).delay > 0
    assert statuses(100 + THROTTLES + CRAWLS, 200) == {0: 194, 503: 4, -1: 2}
    assert statuses(100 + THROTTLES + CRAWLS + HICCUPS, 200) == {0: 200}
    for at in (101 + THROTTLES, 101 + THROTTLES + CRAWLS, 10_000):
        assert [trouble.meets([path], at).status for path in trouble.rejected] == list(REJECTED.values())


def test_paths_are_found_in_messages_of_one_file_and_of_many() -> None:
    odd = {"path_base64": base64.b64encode(b"\xff").decode()}
    assert paths_of(json.dumps({"data": {"file": {"path": "a/b"}}}).encode()) == [b"a/b"]
    assert paths_of(json.dumps({"data": {"files": [{"file": {"path": "a"}}, {"file": odd}]}}).encode()) == [
        b"a",
        b"\xff",
    ]
    assert paths_of(b'{"data": {"app": {"id": "1"}}}') == paths_of(b"\xff") == paths_of(b"[]") == []
