"""Files that each app has acknowledged, or may have; `syncsvc.store.ledger` reads and writes the rows."""

from django.db import models


class DeliveredFile(models.Model):
    """A path that an app has, or may have: the version it acknowledged, and the one whose answer is missing."""

    # No check a row: a row is only written while its subscription's row is locked, and a trigger of the database
    # deletes it with that row.
    subscription = models.ForeignKey(
        "syncsvc.Subscription",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="delivered_files",
    )
    # git's raw bytes, whose order is git's.
    path = models.BinaryField()
    mode = models.CharField(max_length=6, null=True)  # noqa: DJ001 - nothing acknowledged is not an empty mode
    blob = models.CharField(max_length=64, null=True)  # noqa: DJ001
    # The subscription's epoch when it was acknowledged; an older one means: forgotten, to be sent again.
    epoch = models.PositiveIntegerField(default=0, db_default=0)
    delivered_at = models.DateTimeField(null=True)
    # The change that was sent and not acknowledged: its id, what it said, and what it said the app had before.
    doubt_id = models.UUIDField(null=True)
    doubt_mode = models.CharField(max_length=6, null=True)  # noqa: DJ001
    doubt_blob = models.CharField(max_length=64, null=True)  # noqa: DJ001
    doubt_previous = models.CharField(max_length=64, null=True)  # noqa: DJ001
    doubt_epoch = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ("subscription", "path")
        constraints = (
            # Serves the merge-join's pages and every upsert. No index has the doubt columns: their updates stay in
            # the page.
            models.UniqueConstraint(fields=["subscription", "path"], name="ledger_once_a_path"),
        )

    def __str__(self) -> str:
        return bytes(self.path).decode(errors="backslashreplace")

    @property
    def in_doubt(self) -> bool:
        return self.doubt_id is not None
