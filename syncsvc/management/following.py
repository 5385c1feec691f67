"""Following an operation to its end: a bar on a terminal, lines otherwise."""

import time
from collections.abc import Callable
from contextlib import suppress

from syncsvc.exceptions import Refused
from syncsvc.management.asking import ask, at_terminal
from syncsvc.management.terminal import ProgressLine
from syncsvc.management.waiting import Pauses
from syncsvc.models import Operation
from syncsvc.operations import control
from syncsvc.operations.asker import Asker
from syncsvc.operations.progress import Progress, progress
from syncsvc.operations.summary import counts_text, has_ended
from syncsvc.words import left

BAR = 24  # characters


def follow(
    operation: Operation, asker: Asker, shown: ProgressLine, *, timeout: int | None, note: Callable[[str], None]
) -> Operation:
    """Shows progress until the operation has ended, the time is over, or Ctrl-C; returns its row as it is then."""
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


def bar_line(shown: Progress) -> str:
    """`[######------] 15/23 completed, 12 succeeded, 3 failed, 2 running, 6 waiting; 1.2/s, about 8 s left`."""
    total = shown["total"]
    filled = BAR * shown["completed"] // total if total else BAR
    special = shown["status"] not in (Operation.Status.RUNNING, *Operation.ENDED)
    state = f", {shown['status']}" if special else ""
    pace = f"; {shown['items_per_second']}/s" if shown["items_per_second"] else ""
    rest = f", {left(shown['seconds_left'])}" if shown["seconds_left"] else ""
    return f"[{'#' * filled}{'-' * (BAR - filled)}] {counts_text(shown)}{state}{pace}{rest}"


def _watch(operation: Operation, shown: ProgressLine, deadline: float | None) -> bool:
    """False where the time was over first."""
    pauses = Pauses()
    while counts := progress(operation.id):
        shown.show(bar_line(counts))
        # The row as well: whoever settled the last item may have died before it could say so.
        if has_ended(counts) or not Operation.objects.open().filter(id=operation.id).exists():
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        pauses.sleep()
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
