"""The log of HTTP requests."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.models.error import error_kind_field

ANSWER_BYTES = 1024
ERROR_LETTERS = 500


class DeliveryAttempt(models.Model):
    """One HTTP request that was made, whatever came of it."""

    # Written by the hundred a second: no check a row. Who writes holds the run's row, and triggers of the database
    # delete attempts with their run and their subscription.
    subscription = models.ForeignKey(
        "syncsvc.Subscription",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="attempts",
        db_index=False,
    )
    run = models.ForeignKey(
        "syncsvc.SyncRun", on_delete=models.DO_NOTHING, db_constraint=False, related_name="attempts"
    )
    webhook_id = models.CharField(max_length=64)
    # created, updated, deleted, batch or sync.failed
    kind = models.CharField(max_length=12)
    # git's raw bytes; null where the request was not about one file.
    path = models.BinaryField(null=True)
    files = models.PositiveSmallIntegerField(default=1)
    # Null where no answer came.
    status = models.PositiveSmallIntegerField(null=True)
    error_kind = error_kind_field()
    error = models.CharField(max_length=ERROR_LETTERS, blank=True, default="")
    milliseconds = models.PositiveIntegerField()
    # The first 1 KiB of the answer's body.
    answer = models.BinaryField(default=b"", blank=True)
    # Names of the app's own headers that went with the request; null where there were none.
    header_names = models.TextField(null=True, blank=True)  # noqa: DJ001 - nothing costs nothing
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        indexes = (
            # A subscription's attempts, newest first.
            models.Index(fields=["subscription", "-id"], name="attempt_of_subscription"),
            # The console's list of what failed, of one kind; and the newest failures of all.
            models.Index(fields=["error_kind", "-id"], condition=~Q(error_kind=""), name="attempt_failed"),
            # The nightly sweep: rows come in order of time, so a few bytes a page range do.
            BrinIndex(fields=["at"], name="attempt_at", autosummarize=True),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.status or self.error_kind}"

    @property
    def acknowledged(self) -> bool:
        return not self.error_kind
