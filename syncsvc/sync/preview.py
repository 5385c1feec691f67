"""What would be sent now: a worker plans a run that nobody makes, and Redis keeps the plan for five minutes."""

import time
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from itertools import batched
from typing import Literal

import structlog
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from syncsvc import wakeup
from syncsvc.exceptions import GitError, MirrorBusyError, Refused
from syncsvc.git.eviction import fetch_with_room, make_room
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import remote_head
from syncsvc.models import Snapshot, Subscription, Trigger
from syncsvc.stopping import STOPPING
from syncsvc.sync.health import redis_state
from syncsvc.sync.job import SUSPECT_NICE, Job, git_limits, is_suspect, mirror_of
from syncsvc.sync.lease import Lease
from syncsvc.sync.plan import make_plan
from syncsvc.sync.spool import Spool
from syncsvc.sync.spool_room import ROOM
from syncsvc.sync.watch import RunEndsError
from syncsvc.types import Change, ChangeKind

logger = structlog.get_logger(__name__)

KEPT_SECONDS = 300
# A worker that is free answers at once; one that has not by then may not be there.
WAIT_SECONDS = 15
PAGE = 50
# The rest is counted, and not listed.
LISTED = 10_000
FETCH_WAIT_SECONDS = 30.0
TIMES = ("asked_at", "made_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPreview:
    """`bytes` is the content that would be sent."""

    state: Literal["asked", "making", "ready", "failed"]
    asked_at: datetime
    made_at: datetime | None = None
    commit: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    is_held: bool = False
    error: str = ""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def is_coming(self) -> bool:
        return self.state in ("asked", "making")

    @property
    def is_late(self) -> bool:
        """No worker has begun with it for so long that there may be none."""
        return self.state == "asked" and timezone.now() - self.asked_at > timedelta(seconds=WAIT_SECONDS)


def known_preview(subscription_id: uuid.UUID) -> SyncPreview | None:
    found = cache.get(_key(subscription_id))
    try:
        times = {name: found[name] and datetime.fromisoformat(found[name]) for name in TIMES}
        return SyncPreview(**{**found, **times})
    except (TypeError, ValueError, KeyError):  # none, or one of another release
        return None


def previewed(subscription_id: uuid.UUID, page: int) -> list[Change]:
    """A page of its changes, from 1, in the order in which they would be sent."""
    rows = cache.get(_key(subscription_id, page)) or []
    return [Change(ChangeKind(kind), path.encode(errors="surrogateescape"), *rest) for kind, path, *rest in rows]


def ask_for_preview(subscription: Subscription) -> None:
    """Wakes a worker; who asks for one that is on its way joins it. Refused `unavailable` without Redis."""
    known = known_preview(subscription.id)
    if known is not None and known.is_coming and not known.is_late:
        return
    asked = SyncPreview(state="asked", asked_at=timezone.now())
    _keep(subscription.id, asked)
    kept = known_preview(subscription.id)
    if kept is None or kept.asked_at < asked.asked_at:  # it may have one from before, and take no other
        trouble = redis_state().trouble or "does not answer"
        raise Refused("unavailable", f"Redis {trouble}, and previews are kept there. Try again when it is back.")
    wakeup.wake_preview(subscription)


def make_preview(subscription_id: uuid.UUID) -> None:
    """Plans as a run would and keeps what it finds. Nothing is sent, and no row says that it happened."""
    subscription = Subscription.objects.select_related("app", "repository", "clean_snapshot").filter(id=subscription_id)
    known = known_preview(subscription_id) or SyncPreview(state="asked", asked_at=timezone.now())
    _keep(subscription_id, replace(known, state="making"))
    try:
        found = _plan(known, subscription.get())
    except Subscription.DoesNotExist:
        return
    except GitError as error:
        found = _failed(known, f"{error} ({error.kind})")
    except MirrorBusyError:
        found = _failed(known, "The repository is being fetched by another; ask again in a moment.")
    except RunEndsError:
        found = _failed(known, "The worker that made this preview was stopped; ask again.")
    except Exception as error:
        logger.exception("preview.crashed", subscription=str(subscription_id))
        found = _failed(known, f"An error in syncsvc itself ({type(error).__name__}); see its log.")
    _keep(subscription_id, replace(found, made_at=timezone.now()))


def _failed(known: SyncPreview, error: str) -> SyncPreview:
    return replace(known, state="failed", error=error)


def _plan(known: SyncPreview, subscription: Subscription) -> SyncPreview:
    repository = subscription.repository
    # Asked without taking note: a head that moved would have runs asked for.
    nice = SUSPECT_NICE if is_suspect(repository) else 0
    head = remote_head(repository.remote, git_limits(nice=nice, interrupt=_check))
    if head.commit is None:
        return _failed(known, "The remote has no commit.")
    mirror = mirror_of(repository, nice=nice, interrupt=_check)
    commit = head.commit
    if not mirror.has_commit(commit):
        commit = fetch_with_room(mirror, head, ROOM.for_mirrors, wait=FETCH_WAIT_SECONDS)
        wakeup.wake_runs(Subscription.objects.filter(repository=repository).fetch_ended())
    with mirror.reading(wait=FETCH_WAIT_SECONDS):
        if mirror.has_fetched:
            make_room(settings.MIRROR_DIR, ROOM.for_mirrors)
        return _changes(known, subscription, mirror, commit)


def _check() -> None:
    if STOPPING.is_set():
        raise RunEndsError


def _changes(known: SyncPreview, subscription: Subscription, mirror: Mirror, commit: str) -> SyncPreview:
    taken_in = Snapshot.objects.filter(repository=subscription.repository, commit=commit).first()
    snapshot = taken_in or Snapshot(repository=subscription.repository, commit=commit)
    with Spool(settings.SPOOL_DIR) as spool:
        plan = make_plan(_as_job(subscription), mirror, snapshot, spool)
        changes = (change for kind in ChangeKind for group, _ in spool.groups(kind) for change in group)
        for page, some in enumerate(batched(changes, PAGE), 1):
            if page * PAGE > LISTED:
                break
            rows = [(change.kind.value, change.path.decode(errors="surrogateescape"), *change[2:]) for change in some]
            cache.set(_key(subscription.id, page), rows, KEPT_SECONDS)
        return replace(
            known,
            state="ready",
            commit=commit,
            counts={kind.value: spool.counts[kind] for kind in ChangeKind},
            bytes=spool.bytes,
            is_held=plan.deletes_too_much,
        )


def _as_job(subscription: Subscription) -> Job:
    """Planning needs a run; this one has no lease that anybody would honour."""
    return Job(
        run_id=uuid.uuid4(),
        lease=Lease(),
        subscription=subscription,
        trigger=Trigger.SYNC,
        allow_deletes=False,
        released_at=None,
        started_at=timezone.now(),
        loaded_at=time.monotonic(),
        clock_offset=0.0,
    )


def _keep(subscription_id: uuid.UUID, preview: SyncPreview) -> None:
    moments = {name: getattr(preview, name) for name in TIMES}
    times = {name: moment and moment.isoformat() for name, moment in moments.items()}
    cache.set(_key(subscription_id), {**asdict(preview), **times}, KEPT_SECONDS)


def _key(subscription_id: uuid.UUID, page: int | None = None) -> str:
    return f"preview:{subscription_id}" if page is None else f"preview:{subscription_id}:{page}"
