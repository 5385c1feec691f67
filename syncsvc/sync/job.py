"""A claimed run: what every step of the pipeline needs to know."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db.models import DateTimeField, Exists, ExpressionWrapper
from django.db.models.functions import Now

from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits
from syncsvc.models import App, OperationItem, Repository, Subscription, Trigger
from syncsvc.sync.lease import Lease

FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one subscription, from the claim to its end."""

    run_id: uuid.UUID
    lease: Lease
    subscription: Subscription
    trigger: Trigger
    allow_deletes: bool
    # An item of an operation waits for its end.
    in_bulk: bool
    started_at: datetime
    # By this machine's monotonic clock.
    loaded_at: float
    # Seconds that the database's clock is ahead of this machine's.
    clock_offset: float

    @classmethod
    def load(cls, subscription_id: uuid.UUID, *, run_id: uuid.UUID, lease: Lease) -> "Job":
        """Of a subscription that was just claimed; Subscription.DoesNotExist where it was deleted meanwhile."""
        now = ExpressionWrapper(Now(), output_field=DateTimeField())
        in_bulk = Exists(OperationItem.objects.filter(run_id=run_id, status=OperationItem.Status.RUNNING))
        subscription = (
            Subscription.objects.select_related("app", "repository", "clean_snapshot")
            .annotate(database_now=now, in_bulk=in_bulk)
            .get(id=subscription_id, lease_token=lease.token)
        )
        started_at: datetime = getattr(subscription, "database_now")  # noqa: B009 - the annotation above
        return cls(
            run_id=run_id,
            lease=lease,
            subscription=subscription,
            trigger=Trigger(subscription.trigger),
            allow_deletes=subscription.allow_deletes,
            in_bulk=getattr(subscription, "in_bulk"),  # noqa: B009
            started_at=started_at,
            loaded_at=time.monotonic(),
            clock_offset=started_at.timestamp() - time.time(),
        )

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
    def epoch(self) -> int:
        return self.subscription.epoch

    @property
    def is_fresh(self) -> bool:
        """The rows were read a moment ago."""
        return time.monotonic() - self.loaded_at < FRESH_SECONDS

    def now(self) -> datetime:
        """The database's time."""
        return datetime.fromtimestamp(time.time() + self.clock_offset, UTC)


def git_limits() -> GitLimits:
    return GitLimits(
        timeout=settings.GIT_TIMEOUT,
        ls_remote_timeout=settings.GIT_LS_REMOTE_TIMEOUT,
        allow_local=settings.GIT_ALLOW_LOCAL,
    )


def mirror_of(repository: Repository) -> Mirror:
    return Mirror(settings.MIRROR_DIR / str(repository.id), repository.remote, git_limits())
