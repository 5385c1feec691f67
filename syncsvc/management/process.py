"""Processes that are ours: started so that they do not outlive us, and remembered so that they can be found again."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How one process is started and ended. `tier`: what is higher is ended earlier; what shares one, together."""

    name: str
    command: tuple[str, ...]
    tier: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)  # beside our own environment
    directory: Path | None = None
    prepare: Callable[[], None] | None = None  # runs before every start
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30
    # The kernel sends it this when the thread that started it dies: a `kill -9` of us takes it down too (Linux).
    orphan_signal: signal.Signals = signal.SIGKILL


class Child:
    """One running process of a program, with its log and its pid file."""

    def __init__(self, program: Program, *, run_dir: Path, log_dir: Path) -> None:
        self.program = program
        self.log = log_dir / f"{program.name}.log"
        self._pid_file = run_dir / f"{program.name}.pid"
        self._process = self._start()
        self.started = time.monotonic()
        write_pid_file(self._pid_file, self._process.pid, program.stop_signal)

    def _start(self) -> subprocess.Popen[bytes]:
        program = self.program
        with self.log.open("ab") as log:
            return subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=program.directory,
                env={**os.environ, **program.environment},
                process_group=0,  # Ctrl-C in the terminal is for us alone
                preexec_fn=partial(_begin, os.getpid(), program.orphan_signal),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._clear()
        return code

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self.program.stop_signal)

    def wait_or_kill(self, deadline: float) -> None:
        """Waits until `deadline` (monotonic), then kills it with whatever it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(deadline - time.monotonic(), 0))
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._clear()

    def _clear(self) -> None:
        # What it started and left behind is in its process group, whose number the kernel keeps while a member lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)


def _begin(parent: int, orphan_signal: int) -> None:
    """Runs in the child: no core dump of its secrets, and its end with ours."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, orphan_signal)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def started_at(pid: int) -> str | None:
    """When a live process began, as the system tells it; with the pid that names it for good. None: it is not alive."""
    if not LINUX:
        ps = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return ps.stdout.strip() or None
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else f"{boot} {fields[18]}"


def write_pid_file(file: Path, pid: int, stop_signal: signal.Signals = signal.SIGTERM) -> None:
    entry = {"pid": pid, "started": started_at(pid), "stop_signal": stop_signal.name}
    file.write_text(json.dumps(entry), encoding="utf-8")


def read_pid_file(file: Path) -> tuple[int, signal.Signals] | None:
    """Pid and stop signal, if that very process still runs: a number that was given out anew is not it."""
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        pid, started, stop_signal = int(entry["pid"]), entry["started"], signal.Signals[entry["stop_signal"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, or half written when the machine died
        return None
    return (pid, stop_signal) if started and started_at(pid) == started else None


def end(pid: int, *, stop_signal: signal.Signals = signal.SIGTERM, seconds: float = 30) -> None:
    """Ends a process that need not be our child: asks, waits, kills."""
    started = started_at(pid)
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
        while started and started_at(pid) == started:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def end_leftover(pid_file: Path, *, seconds: float = 30) -> int | None:
    """Ends what an earlier start left running; gives its pid, or None if there was nothing."""
    found = read_pid_file(pid_file)
    if found:
        end(found[0], stop_signal=found[1], seconds=seconds)
    pid_file.unlink(missing_ok=True)
    return found[0] if found else None
