"""`up`, `down`, and what a command says while nothing runs: real processes, in a data folder of their own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsvc.management.embedded import free_port
from syncsvc.management.process import read_pid_file, started_at
from syncsvc.management.stack import MANAGE
from tests.management.test_process import wait_for

NAMES = {"postgres", "valkey", "web", "scheduler", "worker-1", "supervisor"}
SECONDS = 120  # on a busy machine


class Checkout:
    """One `make up`, and commands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.output = folder, free_port(), folder / "output"
        own = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENCRYPTION_KEYS"}
        self.environment = {name: value for name, value in os.environ.items() if name not in own}
        self.environment |= {"DATA_DIR": str(folder / "data")}
        self._up: list[subprocess.Popen[bytes]] = []

    def up(self) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            command = [*MANAGE, "up", "--port", str(self.port), "--workers", "1"]
            process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output, process_group=0)
        self._up.append(process)
        wait_for(lambda: "the console is at" in self.said() or process.poll() is not None, SECONDS)
        assert process.poll() is None, self.said()
        return process

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MANAGE, *command], env=self.environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )

    def said(self) -> str:
        return self.output.read_text()

    def pids(self) -> dict[str, int]:
        files = (self.folder / "data" / "run").glob("*.pid")
        return {file.stem: entry[0] for file in files if (entry := read_pid_file(file))}

    def end(self) -> None:
        for process in self._up:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.run("down")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    it = Checkout(tmp_path_factory.mktemp("checkout"))
    yield it
    it.end()


def gone(pids: dict[str, int]) -> bool:
    return not any(started_at(pid) for pid in pids.values())


def test_up_runs_everything_refuses_a_second_one_and_survives_a_kill(checkout: Checkout) -> None:
    first = checkout.up()
    assert "log in as operator with the password " in checkout.said()
    assert f"the console is at http://127.0.0.1:{checkout.port}/admin/" in checkout.said()
    with urllib.request.urlopen(f"http://127.0.0.1:{checkout.port}/admin/login/", timeout=10) as page:
        assert page.status == 200
    wait_for(lambda: _ready(checkout.port), SECONDS)
    pids = checkout.pids()
    assert pids.keys() == NAMES

    second = checkout.run("up", "--port", str(free_port()))
    assert second.returncode == 2
    assert f"It already runs here (process {first.pid}). `make down` ends it." in second.stderr
    taken = subprocess.run(
        [*MANAGE, "up", "--port", str(checkout.port)],
        env=checkout.environment | {"DATA_DIR": str(checkout.folder / "another")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert taken.returncode == 2
    assert f"Port {checkout.port} is taken by another program. Choose one: WEB_PORT=" in taken.stderr
    assert not (checkout.folder / "another" / "postgres").exists()

    first.kill()
    first.wait()
    if sys.platform == "linux":
        wait_for(lambda: gone(pids))

    again = checkout.up()
    assert "log in as operator (password forgotten or expired: " in checkout.said()
    pids = checkout.pids()
    down = checkout.run("down")
    assert down.stdout == "syncsvc: ended supervisor\n"
    assert again.wait() == 0
    assert gone(pids)
    assert "everything has ended" in checkout.said()


def test_down_ends_what_a_lost_supervisor_left(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    run = tmp_path / "data" / "run"
    run.mkdir(parents=True)
    lost = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (run / "worker-1.pid").write_text(
        json.dumps({"pid": lost.pid, "started": started_at(lost.pid), "stop_signal": "SIGTERM"})
    )
    (run / "web.pid").write_text(json.dumps({"pid": os.getpid(), "started": "another", "stop_signal": "SIGKILL"}))
    assert checkout.run("down").stdout == "syncsvc: ended worker-1\n"
    assert lost.wait() == -signal.SIGTERM
    assert checkout.run("down").stdout == "syncsvc: nothing was running\n"


def test_a_command_says_that_nothing_runs_and_what_to_type(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / "data").mkdir()
    url = f"postgresql://syncsvc:secret@127.0.0.1:{free_port()}/syncsvc"
    (tmp_path / "data" / "env").write_text(f"SECRET_KEY=x\nDATABASE_URL={url}\n")
    result = checkout.run("showmigrations")
    assert result.returncode == 2
    assert result.stderr.endswith("does not answer. Start the embedded servers with `make up`.\n")
    assert "secret" not in result.stderr
    as_json = checkout.run("status", "--json")
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout)["error"]["kind"] == "unavailable"

    checkout.environment["DATABASE_URL"] = url
    assert "Check that it runs, and DATABASE_URL." in checkout.run("showmigrations").stderr


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200 and json.load(answer)["scheduler"])
    except OSError:
        return False
