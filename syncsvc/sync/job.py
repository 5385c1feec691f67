"""A claimed run: what every step of the pipeline needs to know."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from django.conf import settings

from syncsvc.git.bounds import Bounds
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits
from syncsvc.git.route import git_egress
from syncsvc.models import App, Repository, Subscription, Trigger
from syncsvc.stopping import STOPPING
from syncsvc.store.claim import Claimed, claim, claim_next_released
from syncsvc.sync.lease import Lease, LeaseLostError
from syncsvc.sync.proxy import egress_proxy
from syncsvc.sync.suspects import Place
from syncsvc.sync.turn import Turn
from syncsvc.sync.watch import RunEndsError, Watched
from syncsvc.types import ErrorKind

FRESH_SECONDS = 1.0
_TOO_LARGE = ErrorKind.REPOSITORY_TOO_LARGE.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one subscription, from the claim to its end."""

    run_id: uuid.UUID
    lease: Lease
    subscription: Subscription
    trigger: Trigger
    allow_deletes: bool
    # When an operation released the item that this run is for; None where there is none.
    released_at: datetime | None
    started_at: datetime
    # By this machine's monotonic clock.
    loaded_at: float
    # Seconds that the database's clock is ahead of this machine's.
    clock_offset: float
    watched: Watched = field(default_factory=Watched)
    turn: Turn = field(default_factory=Turn)
    place: Place = field(default_factory=Place)

    @classmethod
    def claim(cls, subscription_id: uuid.UUID, *, worker: str, turn: Turn | None = None) -> "Job | None":
        """The run of one that is due, or that an operation has released; None where it is not, or another runs it."""
        lease, run_id = Lease(), uuid.uuid4()
        claimed = claim(subscription_id, token=lease.token, run_id=run_id, worker=worker)
        return cls._of(claimed, run_id, lease, turn or Turn()) if claimed else None

    @classmethod
    def claim_next_released(
        cls,
        *,
        worker: str,
        barred: Sequence[uuid.UUID] = (),
        shards: Sequence[int] | None = None,
        turn: Turn | None = None,
    ) -> "Job | None":
        """The run of the item that was released first; `barred` and `shards` as in the store's claim."""
        lease, run_id = Lease(), uuid.uuid4()
        claimed = claim_next_released(token=lease.token, run_id=run_id, worker=worker, barred=barred, shards=shards)
        return cls._of(claimed, run_id, lease, turn or Turn()) if claimed else None

    @classmethod
    def _of(cls, claimed: Claimed, run_id: uuid.UUID, lease: Lease, turn: Turn) -> "Job":
        subscription = claimed.subscription
        return cls(
            run_id=run_id,
            lease=lease,
            subscription=subscription,
            trigger=Trigger(subscription.trigger),
            allow_deletes=subscription.allow_deletes,
            released_at=claimed.released_at,
            started_at=claimed.at,
            loaded_at=time.monotonic(),
            clock_offset=claimed.at.timestamp() - time.time(),
            watched=Watched((subscription.repository.url, subscription.repository.branch)),
            turn=turn,
        )

    @property
    def in_bulk(self) -> bool:
        """An item of an operation waits for its end."""
        return self.released_at is not None

    @property
    def is_suspect(self) -> bool:
        """The repository has exceeded a limit before: its runs take turns, and its git lets all others go first."""
        return is_suspect(self.repository) or self.subscription.error_kind == _TOO_LARGE

    @property
    def nice(self) -> int:
        """How much its git lets others go first."""
        return SUSPECT_NICE if self.is_suspect else BULK_NICE if self.in_bulk else 0

    @property
    def single_retry(self) -> bool:
        """An operator's, of this one alone: it may ask an endpoint that is left alone."""
        return self.trigger is Trigger.RETRY and not self.in_bulk

    @property
    def app(self) -> App:
        return self.subscription.app

    @property
    def repository(self) -> Repository:
        return self.subscription.repository

    @property
    def head_moved_at(self) -> datetime | None:
        """Of the repository as this run has read it; refreshed with its head."""
        return self.repository.head_moved_at

    @property
    def epoch(self) -> int:
        return self.subscription.epoch

    @property
    def is_fresh(self) -> bool:
        """The rows were read a moment ago."""
        return time.monotonic() - self.loaded_at < FRESH_SECONDS

    def check(self) -> None:
        """RunEndsError where the run is to end now; LeaseLostError where it is somebody else's by now."""
        if self.lease.lost.is_set():
            raise LeaseLostError
        if self.watched.must_end or STOPPING.is_set():
            raise RunEndsError

    def now(self) -> datetime:
        """The database's time."""
        return datetime.fromtimestamp(time.time() + self.clock_offset, UTC)


def is_suspect(repository: Repository) -> bool:
    """Its last fetch has met a limit."""
    return bool(repository.error_kind == _TOO_LARGE)


# git of bulk runs lets that of live ones go first, and git of suspects that of all.
BULK_NICE = 10
SUSPECT_NICE = 19


def git_limits(*, nice: int = 0, interrupt: Callable[[], None] | None = None) -> GitLimits:
    return GitLimits(
        timeout=settings.GIT_TIMEOUT,
        ls_remote_timeout=settings.GIT_LS_REMOTE_TIMEOUT,
        allow_local=settings.GIT_ALLOW_LOCAL,
        nice=nice,
        ca_file=settings.GIT_CA_FILE,
        full_fetch_bytes=settings.GIT_FULL_FETCH_MAX_BYTES,
        max_files=settings.MAX_FILES,
        plan_seconds=settings.PLAN_SECONDS,
        repository_bytes=settings.MAX_REPOSITORY_BYTES,
        bounds=Bounds(
            memory_bytes=settings.GIT_MEMORY_BYTES,
            cpu_seconds=settings.GIT_CPU_SECONDS,
            refs_bytes=settings.MAX_REFS_BYTES,
        ),
        egress=_egress(
            tuple(settings.GIT_ALLOWED_NETWORKS),
            tuple(settings.GIT_ALLOWED_PORTS),
            tuple(settings.NAT64_PREFIXES),
            egress_proxy(),
        ),
        interrupt=interrupt,
    )


# What was judged is remembered with the policy.
_egress = cache(git_egress)


def mirror_of(repository: Repository, *, nice: int = 0, interrupt: Callable[[], None] | None = None) -> Mirror:
    limits = git_limits(nice=nice, interrupt=interrupt)
    return Mirror(settings.MIRROR_DIR / str(repository.id), repository.remote, limits)
