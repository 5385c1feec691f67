"""The result of a run's sending."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from syncsvc.error_kinds import POLICIES
from syncsvc.store.runs import RunCounts
from syncsvc.store.throttles import Throttled
from syncsvc.sync.cargo import Refusal
from syncsvc.types import Change, ErrorKind


class Stop(Enum):
    """Why a run sends nothing more."""

    CIRCUIT = auto()  # the endpoint is down
    THROTTLED = auto()  # the endpoint asked for a wait that is too long to be spent in the run
    FAILURE = auto()  # a kind about the endpoint as a whole
    PAUSED = auto()  # the app, the repository or the subscription
    STOPPED = auto()  # an operator stopped this run
    OTHER_REMOTE = auto()  # the repository has another URL or branch
    HANDS_OVER = auto()  # others are due, or the head has moved
    SHUTDOWN = auto()  # this process ends


@dataclass(slots=True)
class Tally:
    """Counts of a delivery so far. `kind`, `error` and `path` are of the first failure; `url` is the endpoint's."""

    delivered: int = 0
    failed: int = 0
    requests: int = 0
    content_bytes: int = 0
    kind: ErrorKind | None = None
    error: str = ""
    path: bytes | None = None
    damaged: bool = False
    url: str = ""
    stop: Stop | None = None
    throttled: Throttled | None = None
    throttle_error: str = ""
    # The probe of an open circuit was sent, and failed.
    probe_failed: bool = False
    # The answer after which the circuit was open.
    opened_by: Refusal | None = None

    @property
    def counts(self) -> RunCounts:
        """The counts that the run's row shows."""
        return RunCounts(delivered=self.delivered, failed=self.failed, requests=self.requests, bytes=self.content_bytes)

    def fail(self, kind: ErrorKind, error: str, changes: Sequence[Change]) -> None:
        self.failed += len(changes)
        # What stops the run says more than what came before.
        if self.kind is None or POLICIES[kind].stops_run:
            self.kind, self.error, self.path = kind, error, changes[0].path if changes else None

    def conclude(self) -> None:
        """What showed that the endpoint is down says more than the run's first failure; a wait is none."""
        if self.stop is Stop.CIRCUIT and self.opened_by and self.opened_by.kind is not ErrorKind.ENDPOINT_THROTTLED:
            self.kind, self.error = self.opened_by
