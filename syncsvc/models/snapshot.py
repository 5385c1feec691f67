"""Commits that were taken in."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from syncsvc.words import left_out_text


class Snapshot(models.Model):
    """A commit of a repository as its apps are told of it. Its files are read from git, never stored here."""

    repository = models.ForeignKey("syncsvc.Repository", on_delete=models.DB_CASCADE, related_name="snapshots")
    commit = models.CharField(max_length=64)
    tree = models.CharField(max_length=64)
    # Files that can be sent; bytes of their content.
    files = models.PositiveIntegerField()
    bytes = models.PositiveBigIntegerField()
    # What can not be sent: submodules, and paths of over 2,000 bytes. Files over MAX_FILE_BYTES are left out likewise.
    submodules = models.PositiveIntegerField(default=0)
    long_paths = models.PositiveIntegerField(default=0)
    large_files = models.PositiveIntegerField(default=0, db_default=0)
    # Paths that could lead a receiver out of its folder (git/unsafe_paths.py), a few of them, and whether they are
    # sent or left out (UNSAFE_PATHS). Null: taken in before they were counted.
    unsafe_paths = models.PositiveIntegerField(null=True)
    unsafe_examples = ArrayField(models.BinaryField(), default=list, db_default=[], blank=True)
    unsafe_left_out = models.BooleanField(default=False, db_default=False)
    # Digest of what decided which files these counts are of; blank where no setting leaves out any.
    selection = models.CharField(max_length=64, blank=True, default="", db_default="")
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

    @property
    def left_out(self) -> int:
        """Entries of the commit that are not sent."""
        return self.submodules + self.long_paths + self.large_files + self.unsafe_left

    @property
    def left_out_text(self) -> str:
        """`2 submodules, 1 large file`; blank where nothing is left out."""
        return left_out_text(
            submodules=self.submodules,
            long_paths=self.long_paths,
            large_files=self.large_files,
            unsafe_paths=self.unsafe_left,
        )

    @property
    def unsafe_sent(self) -> int:
        """Unsafe paths that are sent all the same."""
        return 0 if self.unsafe_left_out else self.unsafe_paths or 0

    @property
    def unsafe_left(self) -> int:
        """Unsafe paths that are left out."""
        return self.unsafe_paths or 0 if self.unsafe_left_out else 0
