"""Runs of a subscription."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.models.error import error_kind_field, error_kind_known


class Trigger(models.TextChoices):
    """What asked for a run."""

    SUBSCRIBED = "subscribed"
    POLL = "poll"
    PUSH = "push"
    SYNC = "sync"
    BACK_OFF = "back_off", "back-off"
    RETRY = "retry"
    RESYNC = "resync", "re-sync"

    @property
    def is_news(self) -> bool:
        """True where something new asked for the run, and not the try after a failure."""
        return self in (Trigger.POLL, Trigger.PUSH)

    @property
    def by_operator(self) -> bool:
        """True where a person, or a script in a person's name, waits for it."""
        return self in (Trigger.SYNC, Trigger.RETRY, Trigger.RESYNC)

    @property
    def asked_for(self) -> bool:
        """True where somebody waits for it: the remote is checked afresh, and an open git circuit does not hold it."""
        return self not in (Trigger.POLL, Trigger.BACK_OFF)


def runs_at(due_at: datetime | None, trigger: str, throttle_lasts_until: datetime | None) -> datetime | None:
    """The time at which a subscription's next run may begin; None where it wants no run.

    An operator's single retry does not wait for the end of its app's throttle.
    """
    if due_at is None or throttle_lasts_until is None or trigger == Trigger.RETRY:
        return due_at
    return max(due_at, throttle_lasts_until)


class SyncRun(models.Model):
    """One run of one subscription: what it set out to tell, and what the app took."""

    class Outcome(models.TextChoices):
        SYNCED = "synced"
        POSTPONED = "postponed"
        FAILED = "failed"
        HELD = "held"
        INTERRUPTED = "interrupted"
        STOPPED = "stopped"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subscription = models.ForeignKey("syncsvc.Subscription", on_delete=models.DB_CASCADE, related_name="runs")
    trigger = models.CharField(max_length=12, choices=Trigger)
    # A user's name, a command, or blank for the system itself.
    asked_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    epoch = models.PositiveIntegerField()
    from_commit = models.CharField(max_length=64, blank=True, default="", db_default="")
    to_commit = models.CharField(max_length=64, blank=True, default="", db_default="")
    # Blank while it runs.
    outcome = models.CharField(max_length=12, choices=Outcome, blank=True, default="", db_default="")
    created = models.PositiveIntegerField(default=0, db_default=0)
    updated = models.PositiveIntegerField(default=0, db_default=0)
    deleted = models.PositiveIntegerField(default=0, db_default=0)
    delivered = models.PositiveIntegerField(default=0, db_default=0)
    failed = models.PositiveIntegerField(default=0, db_default=0)
    requests = models.PositiveIntegerField(default=0, db_default=0)
    bytes = models.PositiveBigIntegerField(default=0, db_default=0)
    deletes_allowed = models.BooleanField(default=False, db_default=False)
    error_kind = error_kind_field()
    error = models.TextField(blank=True, default="", db_default="")
    # The traceback of a bug; never of a failure of the world outside.
    traceback = models.TextField(blank=True, default="", db_default="")
    worker = models.CharField(max_length=100, blank=True, default="", db_default="")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-started_at",)
        constraints = (
            error_kind_known("run"),
            models.CheckConstraint(
                condition=Q(outcome="", finished_at=None) | (~Q(outcome="") & Q(finished_at__isnull=False)),
                name="run_ends_with_outcome",
            ),
        )
        indexes = (
            # A subscription's timeline, and the run that `sync --wait` waits for.
            models.Index(fields=["subscription", "-started_at"], name="run_timeline"),
            # The console's list of all runs, and the nightly sweep.
            models.Index(fields=["started_at"], name="run_started"),
            # The console's list of runs that failed, were put off or are held: one in many.
            models.Index(fields=["outcome", "-started_at"], condition=~Q(outcome="synced"), name="run_not_synced"),
            # What runs now: the sweep that ends what a dead worker left.
            models.Index(fields=["subscription"], condition=Q(outcome=""), name="run_open"),
        )

    def __str__(self) -> str:
        return f"run {str(self.id)[:8]}"

    @property
    def found_no_commit(self) -> bool:
        """True where the run ended well and the remote had no commit."""
        return self.outcome == self.Outcome.SYNCED and not self.to_commit

    @property
    def seconds(self) -> float | None:
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()
