"""One app following one repository: the unit that is queued, run, retried and re-synced."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.models.error import error_kind_field, error_kind_known
from syncsvc.models.run import Trigger
from syncsvc.models.transitions import Status, SubscriptionQuerySet


class Subscription(models.Model):
    """One App following one Repository: how far it is, what it waits for, and what went wrong last."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey("syncsvc.App", on_delete=models.DB_CASCADE, related_name="subscriptions")
    repository = models.ForeignKey("syncsvc.Repository", on_delete=models.DB_CASCADE, related_name="subscriptions")
    is_active = models.BooleanField("active", default=True, help_text="Off: paused. Nothing is lost, nothing is sent.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING, editable=False)
    # When it wants a run; null while it runs, and where it wants none.
    due_at = models.DateTimeField(null=True, db_default=Now(), editable=False)
    # A wake-up was sent then; one older than REQUEUE_AFTER counts as lost.
    queued_at = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    # Somebody asked while it ran: its end makes it pending, due now.
    run_again = models.BooleanField(default=False, editable=False)
    # Its run found the mirror being fetched: the end of that fetch makes it due.
    awaits_fetch = models.BooleanField(default=False, editable=False)
    # What asked for the run that comes next, who, and when.
    trigger = models.CharField(max_length=12, choices=Trigger, default=Trigger.SUBSCRIBED, editable=False)
    asked_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    asked_at = models.DateTimeField(db_default=Now(), editable=False)

    # Runs that failed in a row; over 0 and pending means: retrying.
    retry_count = models.PositiveIntegerField(default=0, editable=False)
    error_kind = error_kind_field(editable=False)
    last_error = models.TextField(blank=True, default="", editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    # Since when it has been failed with this kind of error. A preview's set is those that had failed by then.
    failed_at = models.DateTimeField(null=True, editable=False)
    # The app was told of this streak of failures.
    failure_notified = models.BooleanField(default=False, editable=False)
    last_success_at = models.DateTimeField(null=True, editable=False)

    epoch = models.PositiveIntegerField(default=1, editable=False)
    # The last snapshot that the app had whole, for people to see.
    snapshot = models.ForeignKey(
        "syncsvc.Snapshot", on_delete=models.DB_SET_NULL, null=True, editable=False, related_name="+"
    )
    # The ledger is exactly this snapshot's files, none in doubt, provided clean_epoch is epoch. Null: look at each row.
    clean_snapshot = models.ForeignKey(
        "syncsvc.Snapshot", on_delete=models.DB_SET_NULL, null=True, editable=False, related_name="+"
    )
    clean_epoch = models.PositiveIntegerField(default=0, editable=False)

    # A mass delete may go out: for the next run whatever it finds, or for this commit and no more deletes than these.
    allow_deletes = models.BooleanField(default=False, editable=False)
    approved_commit = models.CharField(max_length=64, blank=True, default="", editable=False)
    approved_deletes = models.PositiveIntegerField(default=0, editable=False)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ("app__name", "repository__name")
        constraints = (
            models.UniqueConstraint(fields=["app", "repository"], name="subscription_once"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="subscription_status_known"),
            models.CheckConstraint(
                condition=(Q(status=Status.SYNCING) & Q(lease_token__isnull=False, lease_expires_at__isnull=False))
                | (~Q(status=Status.SYNCING) & Q(lease_token=None, lease_expires_at=None)),
                name="subscription_lease_while_syncing",
            ),
            models.CheckConstraint(
                condition=(Q(status=Status.PENDING, due_at__isnull=False))
                | Q(status__in=[Status.SYNCING, Status.SYNCED], due_at=None)
                | Q(status=Status.FAILED),
                name="subscription_due_when_pending",
            ),
            error_kind_known("subscription"),
        )
        indexes = (
            # The sweep's due query.
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="subscription_due"),
            # The sweep of leases that ran out; renewal.
            models.Index(fields=["lease_expires_at"], condition=Q(status="syncing"), name="subscription_leased"),
            models.Index(fields=["lease_token"], condition=Q(status="syncing"), name="subscription_lease_token"),
            # Failures by cause; counts by status.
            models.Index(fields=["status", "error_kind"], name="subscription_status"),
        )
        permissions = (
            ("retry_subscription", "Can retry a subscription"),
            ("resync_subscription", "Can re-sync a subscription"),
        )

    def __str__(self) -> str:
        return f"{self.app.name}/{self.repository.name}"

    @property
    def paused(self) -> bool:
        return not (self.is_active and self.app.is_active and self.repository.is_active)

    @property
    def ledger_is_clean(self) -> bool:
        return self.clean_snapshot_id is not None and self.clean_epoch == self.epoch
