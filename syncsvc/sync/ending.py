"""How a run can end."""

from dataclasses import dataclass, field

from syncsvc.models import Snapshot
from syncsvc.sync.circuit import OpenCircuit
from syncsvc.sync.deliver import Tally
from syncsvc.sync.plan import Plan
from syncsvc.sync.spool import Spool
from syncsvc.types import ErrorKind


@dataclass(frozen=True, slots=True)
class Synced:
    """The app has everything of the snapshot; None: the repository has no commit yet."""

    snapshot: Snapshot | None
    spool: Spool | None
    tally: Tally


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Something was not acknowledged; the next try is due in `at_least` seconds or later."""

    snapshot: Snapshot
    plan: Plan
    spool: Spool
    tally: Tally
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing could be sent, and why."""

    kind: ErrorKind
    error: str
    at_least: float = 0.0
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Too much would be deleted; somebody must allow it."""

    snapshot: Snapshot
    plan: Plan


@dataclass(frozen=True, slots=True)
class Waits:
    """The endpoint's circuit is open: no request was made."""

    circuit: OpenCircuit
    snapshot: Snapshot
    plan: Plan
    spool: Spool


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The run did not end by itself: this process stops, or another has the mirror."""

    delay: float = 0.0
    awaits_fetch: bool = False
    snapshot: Snapshot | None = None
    spool: Spool | None = None
    tally: Tally = field(default_factory=Tally)


type Ending = Synced | Incomplete | Failed | Held | Waits | HandedBack
