"""Looks after the slots of this process: moves runs that take long, and ends turns that have lasted long enough."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog
from django.db import Error, connection
from django.db.models.functions import Now

from syncsvc.models import Subscription, SyncRun
from syncsvc.sync.rooms import Rooms
from syncsvc.sync.turn import Turn, TurnPolicy

logger = structlog.get_logger(__name__)

# How often it looks at the runs of this process, and how often it asks the database for them, in seconds.
STEP_SECONDS = 0.25
ASK_SECONDS = 1.0
# What is due for longer found no slot: a wake-up needs no more than a sweep.
OVERDUE_SECONDS = 2.0
OVERTAKEN = "the branch has moved on"
OTHERS_ARE_DUE = "other runs were due and found no slot"


class Overseer:
    """A thread of its own for all runs of the process: none asks by itself whether others are due."""

    def __init__(
        self,
        rooms: Rooms,
        *,
        when_moved: Callable[[Sequence[Turn]], None],
        somebody_was_left: Callable[[], bool],
        policy: TurnPolicy,
    ) -> None:
        self._rooms, self._policy = rooms, policy
        self._when_moved, self._somebody_was_left = when_moved, somebody_was_left
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked_at = 0.0

    def attend(self) -> None:
        """Somebody has entered."""
        if not self._bell.is_set():
            self._bell.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="overseer", daemon=True)
                    self._thread.start()

    def look(self) -> None:
        if moved := self._rooms.move_long_ones():
            self._when_moved(moved)
        now = time.monotonic()
        if now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            self.end_turns(now)

    def end_turns(self, now: float) -> None:
        """Ends turns of runs that were overtaken, and as many others as are wanted by what is due."""
        ripe = [turn for turn in self._rooms.turns if self._may_end(turn, now)]
        if not ripe:
            return
        for turn in _overtaken(ripe):
            turn.over_because = OVERTAKEN
        others = sorted((turn for turn in ripe if not turn.is_over), key=lambda turn: turn.began)
        live = [turn for turn in others if not turn.work.in_bulk]
        in_bulk = [turn for turn in others if turn.work.in_bulk]
        if live and (self._somebody_was_left() or self._rooms.short_is_blocked):
            self._end(live, _due_in_vain(len(live)))
        if in_bulk and self._rooms.bulk_is_blocked:
            self._end(in_bulk, _released_in_vain(len(in_bulk)))

    def _may_end(self, turn: Turn, now: float) -> bool:
        return turn.run_id is not None and not turn.is_over and self._policy.may_end(now - turn.began, turn.planned_in)

    @staticmethod
    def _end(turns: Sequence[Turn], wanted: int) -> None:
        """The oldest ones first."""
        for turn in turns[:wanted]:
            turn.over_because = OTHERS_ARE_DUE

    def _run(self) -> None:
        while True:
            if self._rooms.is_empty:
                self._bell.clear()
                if self._rooms.is_empty:
                    self._bell.wait()
            time.sleep(STEP_SECONDS)
            try:
                self.look()
            except Error as error:
                logger.warning("database.away", error=type(error).__name__)
            finally:
                connection.close()


def _overtaken(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of runs that send a commit which is not the branch's head any more."""
    by_run = {turn.run_id: turn for turn in turns}
    runs = SyncRun.objects.filter(id__in=list(by_run)).values_list("id", "subscription__repository__head_commit")
    return [by_run[run_id] for run_id, head in runs if head not in {"", by_run[run_id].commit}]


def _due_in_vain(most: int) -> int:
    """How many live runs are due and found no slot, `most` at most."""
    late = Now() - timedelta(seconds=OVERDUE_SECONDS)
    due = Subscription.objects.active().claimable().not_in_bulk().filter(due_at__lte=late)
    return len(due.values_list("id", flat=True)[:most])


def _released_in_vain(most: int) -> int:
    late = Now() - timedelta(seconds=OVERDUE_SECONDS)
    released = Subscription.objects.released().filter(operation_items__released_at__lte=late)
    return len(released.values_list("id", flat=True)[:most])
