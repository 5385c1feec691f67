"""The messages of one kind that a run has still to send: in order, but nothing waits behind what must wait."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator, Sequence

from syncsvc.delivery.answers import refuses_content
from syncsvc.error_kinds import POLICIES
from syncsvc.sync.cargo import Batch, Cargo, Parts
from syncsvc.sync.loading import Damaged
from syncsvc.sync.spool import GROUP
from syncsvc.types import ErrorKind

# Messages that are looked at to spread a run's attempts, and bytes of their content.
SPREAD_MESSAGES, SPREAD_BYTES = GROUP, 8 * 1024 * 1024

CONFLICT = 409


class Outbox:
    """`cargo` is loaded as it is taken. First goes what was put back, then what is due again, then the rest.

    Times are those of the monotonic clock.
    """

    def __init__(self, cargo: Iterator[Cargo | Damaged], *, resend_delays: Sequence[float]) -> None:
        self._cargo = cargo
        self._resend_delays = resend_delays
        self._first: deque[Cargo | Damaged] = deque()
        self._aside: deque[Parts] = deque()
        self._again: list[tuple[float, int, Cargo]] = []
        self._numbers = itertools.count()
        self._ended = False

    @property
    def is_empty(self) -> bool:
        return not self._again and self.has_nothing_new

    @property
    def has_nothing_new(self) -> bool:
        """Nothing is left but messages that wait for their second chance."""
        return self._ended and not self._first and not self._aside

    def take(self, now: float, *, parts: bool) -> Cargo | Damaged | None:
        """The next one; `parts` says whether another big file may begin. None: nothing can be sent now."""
        if self._first:
            return self._first.popleft()
        if self._again and self._again[0][0] <= now:
            return heapq.heappop(self._again)[2]
        if parts and self._aside:
            return self._aside.popleft()
        cargo = next(self._cargo, None)
        self._ended = self._ended or cargo is None
        return cargo

    def due_in(self, now: float) -> float | None:
        """Seconds until the next second chance; None where nobody waits for one."""
        return max(0.0, self._again[0][0] - now) if self._again else None

    def put_back(self, cargo: Cargo | Damaged) -> None:
        """It is the next one again."""
        self._first.appendleft(cargo)

    def put_aside(self, parts: Parts) -> bool:
        """Lets others pass a big file; False where enough stand aside: then it is the next one again."""
        if len(self._aside) < GROUP:
            self._aside.append(parts)
            return True
        self.put_back(parts)
        return False

    def gives_another_chance(
        self, cargo: Cargo, kind: ErrorKind, status: int | None, now: float, *, something_succeeded: bool
    ) -> bool:
        """Sends a refused message again later in this run, as it is or file by file; False where it has failed.

        While nothing else has succeeded, an endpoint that does not answer in time is not asked again.
        """
        may_pass = POLICIES[kind].resent_in_run
        worth_it = may_pass and (kind is not ErrorKind.ENDPOINT_TIMEOUT or something_succeeded)
        if isinstance(cargo, Parts) and status == CONFLICT and cargo.failures and not cargo.has_restarted:
            cargo.restart()
            self.put_back(cargo)
            return True
        if isinstance(cargo, Batch) and len(cargo.singles) > 1:
            if worth_it and not cargo.failures and self._send_again(cargo, now):
                return True
            if may_pass or (status is not None and refuses_content(status)):
                self._first.extend(cargo.split())
                return True
        return worth_it and self._send_again(cargo, now)

    def _send_again(self, cargo: Cargo, now: float) -> bool:
        """After its delay; False where it has had all its chances."""
        if cargo.is_final or cargo.failures >= len(self._resend_delays):
            return False
        due = now + self._resend_delays[cargo.failures]
        cargo.failures += 1
        heapq.heappush(self._again, (due, next(self._numbers), cargo))
        return True

    def spread(self) -> None:
        """Mixes what comes next: neighbours may fail for one reason, and others tell more about the endpoint."""
        loaded: list[Cargo | Damaged] = list(self._first)
        size = 0
        while len(loaded) < SPREAD_MESSAGES and size < SPREAD_BYTES and not self._ended:
            cargo = next(self._cargo, None)
            if cargo is None:
                self._ended = True
                break
            loaded.append(cargo)
            size += 0 if isinstance(cargo, Damaged | Parts) else cargo.content_bytes
        random.shuffle(loaded)
        # Files that failed in the last run tell least.
        loaded.sort(key=lambda cargo: not isinstance(cargo, Damaged) and cargo.known_bad)
        self._first = deque(loaded)

    def restart_parts(self) -> None:
        """Big files that wait begin again: another endpoint has none of their parts."""
        for cargo in (*self._first, *self._aside, *(cargo for _, _, cargo in self._again)):
            if isinstance(cargo, Parts):
                cargo.restart()

    def drop(self) -> list[Cargo]:
        """Everything that is loaded and waits; those that were refused have their refusal."""
        waiting = [*self._first, *self._aside, *(cargo for _, _, cargo in self._again)]
        self._first.clear()
        self._aside.clear()
        self._again.clear()
        return [cargo for cargo in waiting if not isinstance(cargo, Damaged)]
