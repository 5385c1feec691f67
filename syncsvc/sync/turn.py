"""One run's turn at the threads of this process: the room it is in, how long it lasts, and whether it should end."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

# A run whose turn is over hands its slot back after so many seconds, or so many times its planning time: what comes
# after it is planned again.
LEAST_TURN = 30.0
PLANS_A_TURN = 10.0


@dataclass(frozen=True, slots=True)
class Work:
    """The subject of a run, as far as shares go.

    `host` is the remote's, blank for a local path. `is_doubtful`: the app or the remote was slow, failed or was not
    met yet, so that the run may take long.
    """

    app_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    host: str = ""
    in_bulk: bool = False
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """`least` is in seconds; `plans` is a number of planning times."""

    least: float = LEAST_TURN
    plans: float = PLANS_A_TURN

    def may_end(self, age: float, planned_in: float) -> bool:
        """Whether a run of this age, in seconds, hands its slot back where somebody else wants it."""
        return age >= max(self.least, self.plans * planned_in)


@dataclass(slots=True, eq=False)
class Turn:
    """Times are `clock`'s, in seconds. The run's own thread calls the verbs; `Rooms` moves the turn."""

    work: Work = field(default_factory=Work)
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    is_long: bool = False
    # Set when the mirror has the commit: until then the run may wait for its remote.
    reached_at: float | None = None
    # Of the run that sends now.
    run_id: uuid.UUID | None = None
    commit: str = ""
    planned_in: float = 0.0
    # Set where the run is to hand its slot back as soon as it can: the reason, in words.
    over_because: str = ""
    # Called once when the run turns out to be a long one; must not wait.
    when_long: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def is_over(self) -> bool:
        return bool(self.over_because)

    @property
    def asks_remote(self) -> bool:
        return self.reached_at is None

    def takes(self, work: Work) -> None:
        """Begins a new turn with other work."""
        self.work, self.began, self.reached_at = work, self.clock(), None
        self.run_id, self.commit, self.planned_in, self.over_because = None, "", 0.0, ""

    def reached(self) -> None:
        """The mirror has the commit."""
        self.reached_at = self.clock()

    def sends(self, run_id: uuid.UUID, commit: str, planned_in: float) -> None:
        """The plan is made, in so many seconds, and is being sent."""
        self.commit, self.planned_in, self.run_id = commit, planned_in, run_id
