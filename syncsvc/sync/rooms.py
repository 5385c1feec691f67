"""Rooms of slots in one worker process: short ones, in which a run begins, and long ones for runs that take a while.

Both rooms have WORKER_THREADS slots. Pure accounting: who is in, and who may come in.
"""

import threading
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto

from django.conf import settings

from syncsvc.sync.turn import Turn, Work

# A run that goes on for longer moves to the long room, in seconds.
LONG_SECONDS = 1.0
# Stands for any run that begins.
_ANY = Work(repository_id=uuid.UUID(int=0))


class Admission(Enum):
    YES = auto()
    # Only where no other work is due.
    SPARE = auto()
    NO = auto()


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of a room of `size` slots: each is at least one slot."""

    size: int

    @property
    def quarter(self) -> int:
        """One app's, or one host's, while others wait."""
        return max(1, self.size // 4)

    @property
    def half(self) -> int:
        """That of all bulk runs together."""
        return max(1, self.size // 2)

    @property
    def most(self) -> int:
        """One app's, or one host's, at all."""
        return max(1, self.size - self.size // 4)

    @property
    def doubtful(self) -> int:
        """Short slots for runs that may take long, where the long room is full: none of a single one."""
        return self.size // 2

    @property
    def not_prompt(self) -> int:
        """Short slots for doubtful and bulk runs together: some are left to what is neither."""
        return max(1, self.size - max(1, self.size // 4))


@dataclass(frozen=True, slots=True)
class ShutOut:
    """Work that would not be let in now, or only where nothing else is due."""

    apps: Collection[uuid.UUID] = ()
    hosts: Collection[str] = ()
    # All doubtful work, and the apps and repositories that are doubtful for this process alone.
    doubtful: bool = False
    slow_apps: Collection[uuid.UUID] = ()
    slow_repositories: Collection[uuid.UUID] = ()


class Rooms:
    """Thread-safe. Counts are taken from the turns themselves, which are few.

    Short room: one app has at most three quarters, and at most a quarter while others are due; so has one host, of runs
    that wait for their remote. Bulk runs have at most half. Doubtful runs begin in the long room; where that is full
    they have at most half of the short one, and at most three quarters together with bulk runs. So some short slots are
    always left to work that is known to be prompt.

    Long room: an app has at most a quarter, bulk runs half, runs that wait for their remote half, those of one host a
    quarter. A run that finds no place there stays where it is.
    """

    def __init__(self, *, long_after: float = LONG_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """`long_after` is in seconds of the clock, which is that of the turns."""
        self._long_after, self._clock = long_after, clock
        self._turns: list[Turn] = []
        # Apps that had a run in this process, or whose last run elsewhere is known.
        self._met_apps: set[uuid.UUID] = set()
        # Their last run was long.
        self._slow_apps: set[uuid.UUID] = set()
        self._slow_repositories: set[uuid.UUID] = set()
        self._lock = threading.Lock()
        self._when_long_changes: Callable[[int], None] = lambda count: None

    def when_long_changes(self, tell: Callable[[int], None]) -> None:
        """`tell` is called with the number of turns in the long room whenever that changes; it must not wait."""
        self._when_long_changes = tell

    def has_met(self, app_id: uuid.UUID) -> bool:
        """True where the length of one of the app's runs is known here."""
        with self._lock:
            return app_id in self._met_apps

    def meet(self, app_id: uuid.UUID, *, last_run: float | None) -> None:
        """Takes over how many seconds the app's last run took elsewhere; None: it had none, and may turn out slow."""
        with self._lock:
            if app_id not in self._met_apps and (last_run is None or last_run >= self._long_after):
                self._slow_apps.add(app_id)
            self._met_apps.add(app_id)

    def enter(self, turn: Turn) -> Admission:
        """Counts the turn in, unless the answer is NO: rivals must see it before it is looked whether others wait."""
        shares, work = _shares(), turn.work
        with self._lock:
            if self._is_doubtful(work):
                if self._fits_long(turn):
                    self._turns.append(turn)
                    self._set_long(turn, is_long=True)
                    return Admission.YES
                if not self._has_room_for_doubtful():
                    return Admission.NO
            of_app = sum(1 for other in self._short() if other.work.app_id == work.app_id)
            of_host = self._asking(self._short(), work.host)
            if len(self._short()) >= shares.size or max(of_app, of_host) >= shares.most:
                return Admission.NO
            self._turns.append(turn)
            return Admission.YES if max(of_app, of_host) < shares.quarter else Admission.SPARE

    def enter_bulk(self, turn: Turn) -> bool:
        """For a slot of bulk work, before it has claimed anything."""
        with self._lock:
            if not self._has_room_for_bulk():
                return False
            self._turns.append(turn)
            return True

    def enter_other(self, turn: Turn) -> None:
        """For work that no share is about."""
        with self._lock:
            self._turns.append(turn)

    def come_back(self, turn: Turn) -> bool:
        """A slot of bulk work whose run has ended goes on in the short room; False where it has to end."""
        with self._lock:
            self._learn(turn)
            turn.takes(Work(in_bulk=True))
            if not turn.is_long:
                return True
            self._set_long(turn, is_long=False)
            self._turns.remove(turn)
            if not self._has_room_for_bulk():
                return False
            self._turns.append(turn)
            return True

    def leave(self, turn: Turn) -> None:
        with self._lock:
            if turn not in self._turns:
                return
            self._learn(turn)
            self._turns.remove(turn)
            self._set_long(turn, is_long=False)

    def move_long_ones(self) -> list[Turn]:
        """Moves runs that have taken long enough to the long room, the oldest first; those that were moved."""
        moved: list[Turn] = []
        with self._lock:
            for turn in sorted(self._short(), key=lambda turn: turn.began):
                if not self._is_stuck(turn):
                    continue
                self._remember(turn)
                if turn.when_long is not None:
                    turn.when_long()
                    turn.when_long = None
                if self._fits_long(turn):
                    self._set_long(turn, is_long=True)
                    moved.append(turn)
        return moved

    @property
    def turns(self) -> list[Turn]:
        with self._lock:
            return list(self._turns)

    def counts(self) -> tuple[int, int]:
        """Turns in the short and in the long room."""
        with self._lock:
            return len(self._short()), len(self._long())

    @property
    def is_empty(self) -> bool:
        return not self._turns

    @property
    def short_is_blocked(self) -> bool:
        """The short room is full, and a run is in it that should have moved on."""
        with self._lock:
            short = self._short()
            return len(short) >= _shares().size and any(self._is_stuck(turn) for turn in short)

    @property
    def bulk_is_blocked(self) -> bool:
        """Bulk runs have their half of the short room, and one of them should have moved on."""
        with self._lock:
            bulk = [turn for turn in self._short() if turn.work.in_bulk]
            return len(bulk) >= _shares().half and any(self._is_stuck(turn) for turn in bulk)

    def is_doubtful(self, work: Work) -> bool:
        """True where a run of this work may take long, by what this process knows."""
        with self._lock:
            return self._is_doubtful(work)

    def shut_out(self) -> ShutOut:
        """The live work that is passed over while others are due."""
        shares = _shares()
        with self._lock:
            short = self._short()
            return ShutOut(
                apps=_over(shares.quarter, [turn.work.app_id for turn in short if turn.work.app_id]),
                hosts=_over(shares.quarter, [turn.work.host for turn in short if turn.asks_remote and turn.work.host]),
                doubtful=not self._has_room_for_doubtful() and not self._fits_long(Turn(_ANY)),
                slow_apps=list(self._slow_apps),
                slow_repositories=list(self._slow_repositories),
            )

    def barred_in_bulk(self) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
        """Apps that have their share while others wait, and apps that have all that they may have."""
        shares = _shares()
        with self._lock:
            apps = [turn.work.app_id for turn in self._short() if turn.work.app_id]
            return _over(shares.quarter, apps), _over(shares.most, apps)

    def _is_stuck(self, turn: Turn) -> bool:
        """A run of the short room that has taken long enough; not a slot of bulk work that claims."""
        is_claiming = turn.work.in_bulk and turn.work.app_id is None
        return not is_claiming and self._clock() - turn.began >= self._long_after

    def _short(self) -> list[Turn]:
        return [turn for turn in self._turns if not turn.is_long]

    def _long(self) -> list[Turn]:
        return [turn for turn in self._turns if turn.is_long]

    def _fits_long(self, turn: Turn) -> bool:
        shares, work, long = _shares(), turn.work, self._long()
        if len(long) >= shares.size:
            return False
        if work.app_id and sum(1 for other in long if other.work.app_id == work.app_id) >= shares.quarter:
            return False
        if work.in_bulk and sum(1 for other in long if other.work.in_bulk) >= shares.half:
            return False
        if not turn.asks_remote or not work.repository_id:
            return True
        asking = sum(1 for other in long if other.asks_remote and other.work.repository_id)
        return asking < shares.half and self._asking(long, work.host) < shares.quarter

    def _has_room_for_bulk(self) -> bool:
        shares, short = _shares(), self._short()
        in_bulk = sum(1 for turn in short if turn.work.in_bulk)
        return len(short) < shares.size and in_bulk < shares.half and self._not_prompt(short) < shares.not_prompt

    def _has_room_for_doubtful(self) -> bool:
        shares, short = _shares(), self._short()
        doubtful = sum(1 for turn in short if self._is_doubtful(turn.work))
        return doubtful < shares.doubtful and self._not_prompt(short) < shares.not_prompt

    def _not_prompt(self, turns: list[Turn]) -> int:
        return sum(1 for turn in turns if turn.work.in_bulk or self._is_doubtful(turn.work))

    def _is_doubtful(self, work: Work) -> bool:
        return (
            work.is_doubtful or work.app_id in self._slow_apps or work.repository_id in self._slow_repositories
        ) and not work.in_bulk

    @staticmethod
    def _asking(turns: list[Turn], host: str) -> int:
        """Runs that wait for this host; a local path has none."""
        return sum(1 for turn in turns if turn.asks_remote and turn.work.host == host) if host else 0

    def _set_long(self, turn: Turn, *, is_long: bool) -> None:
        if turn.is_long != is_long:
            turn.is_long = is_long
            self._when_long_changes(len(self._long()))

    def _remember(self, turn: Turn) -> None:
        """The run is long: for its remote, or for its app."""
        work = turn.work
        if turn.asks_remote and work.repository_id:
            self._slow_repositories.add(work.repository_id)
        elif not turn.asks_remote and work.app_id:
            self._slow_apps.add(work.app_id)

    def _learn(self, turn: Turn) -> None:
        """What an ended run says of its remote and its app: they are slow, or not any more."""
        now, work = self._clock(), turn.work
        reached_at = now if turn.reached_at is None else turn.reached_at
        asked_for = reached_at - turn.began
        if work.repository_id and (turn.reached_at is not None or asked_for >= self._long_after):
            _note(self._slow_repositories, work.repository_id, is_in=asked_for >= self._long_after)
        if work.app_id and turn.run_id is not None:
            _note(self._slow_apps, work.app_id, is_in=now - reached_at >= self._long_after)


def _note[K](noted: set[K], key: K, *, is_in: bool) -> None:
    if is_in:
        noted.add(key)
    else:
        noted.discard(key)


def _shares() -> Shares:
    return Shares(settings.WORKER_THREADS)


def _over[K](share: int, of_turns: list[K]) -> list[K]:
    return [each for each in set(of_turns) if of_turns.count(each) >= share]
