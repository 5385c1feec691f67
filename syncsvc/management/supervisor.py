"""Keeps programs running: restarts what dies, later each time, and ends them all in order."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syncsvc.management.process import Child, Program, end_leftover

FIRST_DELAY, LAST_DELAY, SETTLED_SECONDS = 1.0, 30.0, 60.0


class StartError(Exception):
    """Something could not be started; the message says why and what to do."""


def restart_delay(last: float, uptime: float) -> float:
    """Seconds until the next start: 1, doubling to 30, and 1 again after a minute of good running."""
    if not last or uptime >= SETTLED_SECONDS:
        return FIRST_DELAY
    return min(last * 2, LAST_DELAY)


@dataclass(slots=True)
class _Place:
    program: Program
    child: Child | None
    delay: float = 0
    restart_at: float = 0


class Supervisor:
    """Children of this process. `say` gets the lines that a person should see.

    Call `tend` a few times a second. Children die with the thread that started them.
    """

    def __init__(self, *, run_dir: Path, log_dir: Path, say: Callable[[str], None]) -> None:
        self.run_dir, self.log_dir, self._say = run_dir, log_dir, say
        self._places: dict[str, _Place] = {}
        for folder in (run_dir, log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, program: Program) -> Child:
        """Starts a program and keeps it running. A process of that name that an earlier start left is ended."""
        end_leftover(self.run_dir / f"{program.name}.pid")
        log = self.log_dir / f"{program.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        child = self._spawn(program)
        self._places[program.name] = _Place(program, child)
        return child

    def child(self, name: str) -> Child | None:
        """The process that runs under this name; None while it waits to be started again."""
        return self._places[name].child

    def tend(self) -> None:
        """One round: notes what died and starts again what is due."""
        for place in self._places.values():
            if place.child is not None and (code := place.child.poll()) is not None:
                self._note_death(place, place.child, f"ended ({_describe(code)})")
            elif place.child is None and time.monotonic() >= place.restart_at:
                self._restart(place)

    def stop(self, name: str) -> None:
        """Ends one program for good."""
        place = self._places.pop(name)
        self._end([place])

    def stop_all(self) -> None:
        """Ends everything, tier by tier; what was started last is asked first."""
        places = list(reversed(self._places.values()))
        self._places.clear()
        for tier in sorted({place.program.tier for place in places}, reverse=True):
            self._end([place for place in places if place.program.tier == tier])

    def _spawn(self, program: Program) -> Child:
        if program.prepare:
            program.prepare()
        return Child(program, run_dir=self.run_dir, log_dir=self.log_dir)

    def _restart(self, place: _Place) -> None:
        try:
            place.child = self._spawn(place.program)
        except (OSError, StartError) as error:
            place.delay = restart_delay(place.delay, 0)
            place.restart_at = time.monotonic() + place.delay
            self._say(f"{place.program.name} does not start: {error}; next try in {place.delay:.0f} s")

    def _note_death(self, place: _Place, child: Child, what: str) -> None:
        now = time.monotonic()
        place.delay = restart_delay(place.delay, now - child.started)
        place.child, place.restart_at = None, now + place.delay
        self._say(f"{place.program.name} {what}; starting it again in {place.delay:.0f} s (log: {child.log})")

    def _end(self, places: list[_Place]) -> None:
        children = [place.child for place in places if place.child is not None]
        for child in children:
            child.ask_to_stop()
        asked = time.monotonic()
        for child in children:
            child.wait_or_kill(asked + child.program.stop_seconds)


def _describe(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
