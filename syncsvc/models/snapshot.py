"""Commits that were taken in."""

from django.db import models
from django.db.models.functions import Now


class Snapshot(models.Model):
    """A commit of a repository as its apps are told of it. Its files are read from git, never stored here."""

    repository = models.ForeignKey("syncsvc.Repository", on_delete=models.DB_CASCADE, related_name="snapshots")
    commit = models.CharField(max_length=64)
    tree = models.CharField(max_length=64)
    # Files that can be sent; bytes of their content.
    files = models.PositiveIntegerField()
    bytes = models.PositiveBigIntegerField()
    # What can not be sent: submodules, and paths of over 2,000 bytes.
    submodules = models.PositiveIntegerField(default=0)
    long_paths = models.PositiveIntegerField(default=0)
    # The difference to the snapshot before; all null for the first.
    previous = models.ForeignKey("self", on_delete=models.DB_SET_NULL, null=True, blank=True, related_name="+")
    created = models.PositiveIntegerField(null=True)
    updated = models.PositiveIntegerField(null=True)
    deleted = models.PositiveIntegerField(null=True)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=["repository", "commit"], name="snapshot_once_a_commit"),)

    def __str__(self) -> str:
        return self.commit[:12]
