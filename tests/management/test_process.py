"""Processes that do not outlive us and are found again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsvc.management.process import (
    Child,
    Program,
    end,
    end_leftover,
    read_pid_file,
    started_at,
    write_pid_file,
)

FOREVER = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)",
)


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start(tmp_path: Path, command: tuple[str, ...], **options: float) -> Child:
    program = Program(name="it", command=command, stop_seconds=options.get("stop_seconds", 30))
    return Child(program, run_dir=tmp_path, log_dir=tmp_path)


def test_a_child_is_remembered_while_it_runs_and_forgotten_when_it_was_stopped(tmp_path: Path) -> None:
    child = start(tmp_path, FOREVER)
    assert read_pid_file(tmp_path / "it.pid") == (child.pid, signal.SIGTERM)
    child.ask_to_stop()
    child.wait_or_kill(time.monotonic() + 10)
    assert child.poll() == -signal.SIGTERM
    assert not (tmp_path / "it.pid").exists()


def test_a_child_that_crashes_leaves_no_dump_of_its_secrets(tmp_path: Path) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)"
    child = start(tmp_path, (sys.executable, "-c", code))
    wait_for(lambda: child.poll() is not None)
    assert (tmp_path / "it.log").read_text() == "(0, 0)\n"


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = start(tmp_path, STUBBORN)
    wait_for(lambda: "ready" in (tmp_path / "it.log").read_text())
    child.ask_to_stop()
    child.wait_or_kill(time.monotonic() + 0.2)
    assert child.poll() == -signal.SIGKILL


def test_what_a_child_left_behind_is_ended_with_it(tmp_path: Path) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    child = start(tmp_path, (sys.executable, "-c", script))
    wait_for(lambda: child.poll() is not None)
    grandchild = int((tmp_path / "it.log").read_text())
    wait_for(lambda: started_at(grandchild) is None)


def test_a_reused_pid_is_not_taken_for_ours(tmp_path: Path) -> None:
    pid_file = tmp_path / "it.pid"
    write_pid_file(pid_file, os.getpid())
    pid_file.write_text(pid_file.read_text().replace(str(started_at(os.getpid())), "another boot 1"))
    assert read_pid_file(pid_file) is None
    assert end_leftover(pid_file) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', '{"pid": 1, "started": null}'])
def test_a_pid_file_that_was_half_written_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.pid").write_text(text)
    assert read_pid_file(tmp_path / "it.pid") is None


def test_a_leftover_is_ended_by_its_pid_file(tmp_path: Path) -> None:
    other = subprocess.Popen(FOREVER)
    write_pid_file(tmp_path / "it.pid", other.pid)
    assert end_leftover(tmp_path / "it.pid") == other.pid
    assert other.wait() == -signal.SIGTERM
    assert not (tmp_path / "it.pid").exists()


def test_ending_what_does_not_listen_kills_it() -> None:
    other = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert other.stdout is not None
    with other.stdout:
        other.stdout.readline()
    end(other.pid, seconds=0.1)
    assert other.wait() == -signal.SIGKILL
