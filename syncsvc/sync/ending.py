"""The ways in which a run can end."""

from dataclasses import dataclass, field

from syncsvc.models import Snapshot
from syncsvc.store.throttles import Throttled
from syncsvc.sync.circuit import OpenCircuit
from syncsvc.sync.plan import Plan
from syncsvc.sync.tally import Tally
from syncsvc.types import ErrorKind


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run came that had a plan: its snapshot, the planned changes, and the tally of the sending."""

    snapshot: Snapshot
    plan: Plan
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class Synced:
    """The app has everything of the snapshot. Without progress: the repository has no commit yet."""

    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Something was not acknowledged; the next try is due in `at_least` seconds or later."""

    progress: Progress
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The run broke off, and why. The next try is due in `at_least` seconds or later.

    Without progress nothing was sent.
    """

    kind: ErrorKind
    error: str
    traceback: str = ""
    progress: Progress | None = None
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class RemoteLeftAlone:
    """The remote is left alone for `remaining` seconds: its circuit is open, or its host's, or it asked for that.

    `kind` is the last failure's; `host_failing_for` says for how many seconds the host has failed. `host_is_quiet`: it
    limits all that ask it.
    """

    kind: ErrorKind
    error: str
    remaining: float
    host_failing_for: float = 0.0
    host_is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class EndpointLeftAlone:
    """The app's circuit is open: no request was made."""

    circuit: OpenCircuit
    progress: Progress


@dataclass(frozen=True, slots=True)
class EndpointThrottled:
    """The endpoint asked for fewer requests, for longer than a run waits."""

    throttled: Throttled
    progress: Progress


@dataclass(frozen=True, slots=True)
class Stopped:
    """An operator stopped this run."""

    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Too much would be deleted; somebody must allow it."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The run did not end by itself: this process stops, another has the mirror, or the run's turn is over.

    `reason` is for the run's record.
    """

    delay: float = 0.0
    awaits_fetch: bool = False
    progress: Progress | None = None
    reason: str = ""


type Ending = (
    Synced | Incomplete | Failed | RemoteLeftAlone | EndpointLeftAlone | EndpointThrottled | Held | HandedBack | Stopped
)


def progress_of(ending: Ending) -> Progress | None:
    """None where the run did not get as far as a plan."""
    match ending:
        case RemoteLeftAlone():
            return None
        case _:
            return ending.progress
