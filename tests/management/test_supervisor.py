"""What dies is started again, later each time, and a killed supervisor leaves nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsvc.management.process import Program, started_at
from syncsvc.management.supervisor import StartError, Supervisor, restart_delay
from tests.management.test_process import FOREVER, wait_for

ORPHANS = """
import sys, time
from pathlib import Path
from syncsvc.management.process import Program
from syncsvc.management.supervisor import Supervisor
folder = Path(sys.argv[1])
supervisor = Supervisor(run_dir=folder, log_dir=folder, say=print)
for name in ("one", "two"):
    print(supervisor.start(Program(name=name, command=(sys.executable, "-c", "import time; time.sleep(60)"))).pid)
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, lines: list[str]) -> Iterator[Supervisor]:
    it = Supervisor(run_dir=tmp_path / "run", log_dir=tmp_path / "log", say=lines.append)
    yield it
    it.stop_all()


@pytest.mark.parametrize(
    ("last", "uptime", "delay"),
    [(0, 0, 1), (1, 0.5, 2), (2, 5, 4), (16, 59, 30), (30, 1, 30), (30, 60, 1), (8, 3600, 1)],
)
def test_the_delay_doubles_to_half_a_minute_and_begins_anew_after_a_minute(
    last: float, uptime: float, delay: float
) -> None:
    assert restart_delay(last, uptime) == delay


def test_what_was_killed_is_started_again_and_a_person_is_told(supervisor: Supervisor, lines: list[str]) -> None:
    first = supervisor.start(Program(name="it", command=FOREVER))
    os.kill(first.pid, signal.SIGKILL)

    def runs_again() -> bool:
        supervisor.tend()
        child = supervisor.child("it")
        return child is not None and child.pid != first.pid

    wait_for(runs_again)
    assert lines == [f"it ended (killed by SIGKILL); starting it again in 1 s (log: {first.log})"]


def test_what_cannot_be_started_again_is_tried_later(supervisor: Supervisor, lines: list[str], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.touch()

    def prepare() -> None:
        if not ready.exists():
            raise StartError("it is not ready")

    first = supervisor.start(Program(name="it", command=FOREVER, prepare=prepare))
    ready.unlink()
    os.kill(first.pid, signal.SIGKILL)

    def second_line() -> bool:
        supervisor.tend()
        return len(lines) == 2

    wait_for(second_line)
    assert lines[1] == "it does not start: it is not ready; next try in 2 s"
    assert supervisor.child("it") is None


def test_higher_tiers_end_before_lower_ones_are_asked(supervisor: Supervisor, tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(tmp_path / 'order')!r}, 'a').write(sys.argv[1] + '\\n'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(60)"
    )
    for tier, name in enumerate(("database", "cache", "web")):
        supervisor.start(Program(name=name, tier=tier, command=(sys.executable, "-c", script, name)))
    wait_for(lambda: all("ready" in log.read_text() for log in (tmp_path / "log").iterdir()))
    supervisor.stop_all()
    assert (tmp_path / "order").read_text().split() == ["web", "cache", "database"]


def test_a_program_that_an_earlier_start_left_running_is_ended_first(supervisor: Supervisor, tmp_path: Path) -> None:
    left = supervisor.start(Program(name="it", command=FOREVER))
    later = Supervisor(run_dir=tmp_path / "run", log_dir=tmp_path / "log", say=print)
    child = later.start(Program(name="it", command=FOREVER))
    assert left.poll() == -signal.SIGTERM
    assert started_at(child.pid)
    later.stop_all()


@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel ends orphans on Linux only; elsewhere the next start does"
)
def test_a_supervisor_killed_with_9_leaves_nothing_running(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHANS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert process.stdout.readline() == "started\n"
        assert all(started_at(pid) for pid in pids)
        process.kill()
    wait_for(lambda: not any(started_at(pid) for pid in pids))
