"""Bulk retries and re-syncs: what was asked, and what came of each subscription in it."""

import uuid
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from syncsvc.models.error import error_kind_field, error_kind_known

# A window is refilled in so many steps: an item more or less of a large one does not matter, a statement does.
REFILLS_A_WINDOW = 5
# The statuses of an item that has settled.
Outcome = Literal["succeeded", "failed", "skipped", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# The statuses of an item that has not settled.
Unsettled = Literal["waiting", "running"]
UNSETTLED: tuple[Unsettled, ...] = get_args(Unsettled)
# An operation counts its items by status, each in the column of that name.
COUNTS = (*UNSETTLED, *OUTCOMES)
# The statuses of an operation that has ended.
_ENDED = ["finished", "cancelled"]


class OperationQuerySet(models.QuerySet["Operation"]):
    """Verbs that move items and counts together stand in `syncsvc.store.operations`."""

    def open(self) -> "OperationQuerySet":
        """Operations that have not ended."""
        return self.filter(finished_at=None)

    def resume(self, operation_id: uuid.UUID) -> bool:
        """Goes on releasing; who resumes an operation that paused itself does not want it to do so again."""
        paused = self.filter(id=operation_id, status=Operation.Status.PAUSED)
        running = paused.update(
            status=Operation.Status.RUNNING, reason="", abort_percent=None, version=F("version") + 1
        )
        return running == 1

    def lock_for(self, subscription_ids: Sequence[uuid.UUID]) -> None:
        """Locks the operations that have released items for these, before the subscriptions themselves are locked."""
        released = OperationItem.objects.filter(subscription__in=subscription_ids, released_at__isnull=False)
        list(self.filter(id__in=released.values("operation_id")).order_by("id").select_for_update().values_list("id"))


class Operation(models.Model):
    """A bulk retry or bulk re-sync. Its counts are those of its items, at every instant."""

    class Kind(models.TextChoices):
        RETRY = "retry"
        RESYNC = "resync", "re-sync"

    class Status(models.TextChoices):
        RUNNING = "running"
        PAUSED = "paused"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"
        FINISHED = "finished"

    class Source(models.TextChoices):
        CONSOLE = "console"
        COMMAND = "command"
        API = "api"

    # Nothing of an ended operation moves any more; it has a `finished_at`.
    ENDED: ClassVar = tuple(map(Status, _ENDED))

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=6, choices=Kind)
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    # What was asked for: as data, and in words.
    scope = models.JSONField(default=dict)
    scope_text = models.CharField(max_length=500)
    # Who, how, and from where.
    # The database sets it to null. Django can not say so: its own models refer to users in the other way.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, null=True, related_name="+")
    asked_by = models.CharField(max_length=150)
    source = models.CharField(max_length=7, choices=Source)
    address = models.GenericIPAddressField(null=True)
    # The same request sent twice starts one operation.
    idempotency_key = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001 - none is not a blank one
    # The finished operation whose failed items this one retries.
    retries = models.ForeignKey("self", on_delete=models.DB_SET_NULL, null=True, related_name="retried_by")
    max_running = models.PositiveSmallIntegerField(default=50)
    # Pause by itself where more than this percentage fails: of the first `abort_first` items, then of all that ended.
    abort_percent = models.PositiveSmallIntegerField(null=True)
    abort_first = models.PositiveIntegerField(default=50)
    # Why it is paused.
    reason = models.CharField(max_length=500, blank=True, default="")

    total = models.PositiveIntegerField()
    waiting = models.PositiveIntegerField()
    running = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    # Files delivered by its runs.
    files = models.PositiveBigIntegerField(default=0)
    # Rises with every change of the counts and the status: progress with a lower one is older.
    version = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = OperationQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(total=sum((F(name) for name in COUNTS), start=Value(0))),
                name="operation_counts_add_up",
            ),
            models.CheckConstraint(condition=Q(max_running__gt=0), name="operation_max_running"),
            # An operation has ended exactly where it has the time of its end.
            models.CheckConstraint(
                condition=Q(status__in=_ENDED, finished_at__isnull=False)
                | (~Q(status__in=_ENDED) & Q(finished_at=None)),
                name="operation_end_has_time",
            ),
        )
        indexes = (
            # The sweep that mends lost wake-ups; what the console shows as running.
            models.Index(fields=["created_at"], condition=Q(finished_at=None), name="operation_open"),
            models.Index(fields=["-created_at"], name="operation_newest"),
        )
        permissions = (
            ("bulk_retry", "Can retry many subscriptions at once"),
            ("bulk_resync", "Can re-sync many subscriptions at once"),
            ("cancel_operation", "Can cancel, pause and resume operations"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display().capitalize()}: {self.scope_text}"

    @property
    def completed(self) -> int:
        return sum(getattr(self, outcome) for outcome in OUTCOMES)

    @property
    def fails_too_much(self) -> bool:
        """More has failed than the asker wanted to see, if a run tried all of it."""
        return self.is_too_much(self.failed)

    def is_too_much(self, failed: int) -> bool:
        """More than the asker wanted to see, where so many items have failed."""
        sample = max(min(self.abort_first, self.total), self.succeeded + failed)
        return self.abort_percent is not None and failed * 100 > self.abort_percent * sample

    @property
    def refills(self) -> bool:
        """True where the end of this item refills the window: each end does, or each tenth with a window of 50."""
        return self.waiting > 0 and self.completed % max(1, self.max_running // REFILLS_A_WINDOW) == 0

    @property
    def ended(self) -> bool:
        return self.status in self.ENDED


class OperationItem(models.Model):
    """One subscription of an operation. It keeps its names when the subscription is deleted."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        SKIPPED = "skipped"
        CANCELLED = "cancelled"

    operation = models.ForeignKey(Operation, on_delete=models.DB_CASCADE, related_name="items", db_index=False)
    subscription = models.ForeignKey(
        "syncsvc.Subscription", on_delete=models.DB_SET_NULL, null=True, related_name="operation_items", db_index=False
    )
    app_id = models.UUIDField()
    app_name = models.CharField(max_length=100)
    repository_name = models.CharField(max_length=200)
    # Position of the item among its app's items; defines the release order, so that apps take turns.
    turn = models.PositiveIntegerField()
    status = models.CharField(max_length=9, choices=Status, default=Status.WAITING, db_default=Status.WAITING)
    # The mark: a run of its subscription may begin for this item. An item with the mark is in flight until it settles;
    # an item in flight that waits is claimable.
    released_at = models.DateTimeField(null=True)
    # When a claim applied the operation. A second claim does not forget the ledger again.
    applied_at = models.DateTimeField(null=True)
    run_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=500, blank=True, default="", db_default="")
    error_kind = error_kind_field()
    files = models.PositiveIntegerField(default=0, db_default=0)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            error_kind_known("item"),
            models.CheckConstraint(
                condition=Q(released_at=None) | Q(status__in=list(UNSETTLED)), name="item_settled_has_no_mark"
            ),
            # At most one item in flight a subscription, over all operations.
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(released_at__isnull=False), name="item_released_once"
            ),
        )
        indexes = (
            # Release, in turn.
            models.Index(
                fields=["operation", "turn", "id"],
                condition=Q(status="waiting", released_at=None),
                name="item_to_release",
            ),
            # What is claimed next, the longest released first.
            models.Index(
                fields=["released_at", "id"],
                condition=Q(released_at__isnull=False, status="waiting"),
                name="item_claimable",
            ),
            # What is in flight: the window, each app's share of it, and wake-ups that were lost.
            models.Index(fields=["operation", "app_id"], condition=Q(released_at__isnull=False), name="item_in_flight"),
            # The operation's page, and its items by cursor.
            models.Index(fields=["operation", "id"], name="item_of_operation"),
            # The item of a run that settles.
            models.Index(fields=["run_id"], condition=Q(status="running"), name="item_of_run"),
            # Deleting a subscription.
            models.Index(fields=["subscription"], name="item_of_subscription"),
        )

    def __str__(self) -> str:
        return f"{self.app_name}/{self.repository_name}"
