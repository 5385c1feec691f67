"""The messages of one kind that a run has still to send: in order, but nothing waits behind what must wait."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator, Sequence

from syncsvc.sync.cargo import Cargo, Parts
from syncsvc.sync.loading import Damaged
from syncsvc.sync.spool import GROUP

# Messages that are looked at to spread a run's attempts, and bytes of their content.
SPREAD_MESSAGES, SPREAD_BYTES = GROUP, 8 * 1024 * 1024
# Bytes of messages that wait for a second chance; nothing new is loaded above that, so that memory has a limit.
AGAIN_BYTES = 32 * 1024 * 1024
# What a message takes beside its content.
MESSAGE_BYTES = 1024


class Outbox:
    """`cargo` is loaded as it is taken. First goes what was put back, then what is due again, then the rest.

    While a question to the endpoint is open, nothing else goes out. Times are those of the monotonic clock, in seconds.
    """

    def __init__(self, cargo: Iterator[Cargo | Damaged], *, resend_delays: Sequence[float]) -> None:
        self._cargo = cargo
        self._resend_delays = resend_delays
        self._question: Cargo | None = None
        self._question_due = 0.0
        self._first: deque[Cargo | Damaged] = deque()
        self._aside: deque[Parts] = deque()
        self._again: list[tuple[float, int, Cargo]] = []
        self._again_bytes = 0
        # Not answered while the endpoint has answered nothing else: worth another try once it has.
        self._unproven: list[Cargo] = []
        self._numbers = itertools.count()
        self._ended = False

    @property
    def is_empty(self) -> bool:
        """Nothing is left to send. What waits for proof has failed, unless proof comes."""
        return not self._again and self._question is None and self.has_nothing_new

    @property
    def has_nothing_new(self) -> bool:
        """Nothing is left but messages that wait for their second chance."""
        return self._ended and not self._first and not self._aside

    @property
    def is_asking(self) -> bool:
        return self._question is not None

    @property
    def needs_proof(self) -> bool:
        """Messages that are worth another try only where the endpoint answers at all, and no other can show it.

        A file that timed out where nothing succeeded is not, but a batch is: one of its files may have been to blame.
        """
        if not self._unproven or self._again or self._first or self._aside:
            return False
        return not self._ended or any(len(cargo.changes) > 1 for cargo in self._unproven)

    def take(self, now: float, *, parts: bool) -> Cargo | Damaged | None:
        """The next one; `parts` says whether another big file may begin. None: nothing can be sent now."""
        if self._question is not None:
            return self._question if self._question_due <= now else None
        if self._first:
            return self._first.popleft()
        if self._again and self._again[0][0] <= now:
            return self._pop_again()
        if parts and self._aside:
            return self._aside.popleft()
        if self._again_bytes > AGAIN_BYTES:
            return None
        cargo = next(self._cargo, None)
        self._ended = self._ended or cargo is None
        return cargo

    def due_in(self, now: float) -> float | None:
        """Seconds until a message that waits for its time is due; None where none does."""
        if self._question is not None:
            return max(0.0, self._question_due - now)
        return max(0.0, self._again[0][0] - now) if self._again else None

    def put_back(self, cargo: Cargo | Damaged) -> None:
        """It is the next one again."""
        if cargo is not self._question:
            self._first.appendleft(cargo)

    def put_first(self, cargo: Sequence[Cargo]) -> None:
        """These go before the rest, after what was put back before."""
        self._first.extend(cargo)

    def put_aside(self, parts: Parts) -> bool:
        """Lets others pass a big file; False where enough stand aside: then it is the next one again."""
        if len(self._aside) < GROUP:
            self._aside.append(parts)
            return True
        self.put_back(parts)
        return False

    def send_again(self, cargo: Cargo, now: float) -> bool:
        """Gives it another chance after its delay; False where it has had all."""
        if cargo.is_final or cargo.failures >= len(self._resend_delays):
            return False
        due = now + self._resend_delays[cargo.failures]
        cargo.failures += 1
        if cargo is self._question:
            self._question_due = due
            return True
        cargo.close()
        heapq.heappush(self._again, (due, next(self._numbers), cargo))
        self._again_bytes += _bytes_of(cargo)
        return True

    def wait_for_proof(self, cargo: Cargo) -> bool:
        """Keeps it until the endpoint has answered anything; False where it has had all its chances."""
        if cargo.is_final or cargo.failures >= len(self._resend_delays):
            return False
        cargo.close()
        self._unproven.append(cargo)
        self._again_bytes += _bytes_of(cargo)
        return True

    def proven(self, now: float) -> None:
        """The endpoint answers: what waited for that gets its second chance."""
        for cargo in self.give_up_unproven():
            self.send_again(cargo, now)

    def give_up_unproven(self) -> list[Cargo]:
        waiting, self._unproven = self._unproven, []
        self._again_bytes -= sum(_bytes_of(cargo) for cargo in waiting)
        return waiting

    def ask(self, question: Cargo) -> None:
        """Holds everything else back until `answer`."""
        self._question, self._question_due = question, 0.0

    def answer(self) -> None:
        self._question = None

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
        for cargo in self._waiting():
            if isinstance(cargo, Parts):
                cargo.restart()

    def drop(self) -> list[Cargo]:
        """Everything that is loaded and waits; those that were refused have their refusal."""
        waiting = self._waiting()
        self._first.clear()
        self._aside.clear()
        self._again.clear()
        self._unproven.clear()
        self._question = None
        return waiting

    def _pop_again(self) -> Cargo:
        cargo = heapq.heappop(self._again)[2]
        self._again_bytes -= _bytes_of(cargo)
        return cargo

    def _waiting(self) -> list[Cargo]:
        waiting = (*self._first, *self._aside, *(cargo for _, _, cargo in self._again), *self._unproven)
        return [cargo for cargo in waiting if not isinstance(cargo, Damaged)]


def _bytes_of(cargo: Cargo) -> int:
    return MESSAGE_BYTES + (0 if isinstance(cargo, Parts) else cargo.content_bytes)
