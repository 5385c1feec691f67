"""Following an operation to its end: a bar on a terminal, lines otherwise."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management.asking import ask, at_terminal
from syncsvc.management.terminal import Progress
from syncsvc.models import Operation
from syncsvc.operations import control
from syncsvc.operations.asker import Asker
from syncsvc.operations.progress import progress

BAR = 24  # characters
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0


def follow(
    operation: Operation, asker: Asker, shown: Progress, *, timeout: int | None, note: Callable[[str], None]
) -> Operation:
    """Until it has ended, the time is over, or Ctrl-C leaves it; then as its row says."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            ended = _watch(operation, shown, deadline)
            shown.clear()
            if not ended:
                note(_goes_on(operation))
            break
        except KeyboardInterrupt:
            shown.clear()
            if not _cancels(operation, asker):
                note(_goes_on(operation))
                break
    operation.refresh_from_db()
    return operation


def bar_line(counts: dict[str, Any]) -> str:
    """`[######------] 15/23 completed, 12 succeeded, 3 failed, 2 running; 1.2/s, about 8 s left`."""
    total, completed = counts["total"], counts["completed"]
    filled = BAR * completed // total if total else BAR
    told = [f"{counts[name]} {name}" for name in ("succeeded", "failed", "skipped", "cancelled", "running")]
    parts = [f"{completed}/{total} completed", *(text for text in told if not text.startswith("0 "))]
    if counts["status"] not in (Operation.Status.RUNNING, *Operation.ENDED):
        parts.append(counts["status"])
    pace = f"; {counts['items_per_second']}/s" if counts.get("items_per_second") else ""
    left = f", about {counts['seconds_left']:.0f} s left" if counts.get("seconds_left") else ""
    return f"[{'#' * filled}{'-' * (BAR - filled)}] {', '.join(parts)}{pace}{left}"


def _watch(operation: Operation, shown: Progress, deadline: float | None) -> bool:
    """False where the time was over first."""
    pause = FIRST_PAUSE
    while counts := progress(operation.id):
        shown.show(bar_line(counts))
        # The row as well: whoever settled the last item may have died before it could say so.
        if counts["status"] in Operation.ENDED or not Operation.objects.open().filter(id=operation.id).exists():
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_PAUSE)
    raise Refused("not_found", f"The operation {operation.id} was deleted meanwhile.")


def _cancels(operation: Operation, asker: Asker) -> bool:
    """Asks a person; whether they cancel, so that only what runs is waited for."""
    if not at_terminal():
        return False
    answer = ask("Type c to cancel what has not begun, or Enter to leave it running:")
    if answer.lower() not in ("c", "cancel"):
        return False
    with suppress(Refused):  # it has finished meanwhile
        control.cancel(operation.id, asker)
    return True


def _goes_on(operation: Operation) -> str:
    return f"It goes on without this command; `manage.py operation {operation.id} --watch` shows it again."
