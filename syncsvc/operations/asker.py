"""Who asks: recorded on the run, the operation and in the audit."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser
from django.db import models

from syncsvc.models import AuditEntry, Operation
from syncsvc.models.audit import NAME_LENGTH, TEXT_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """`name` is a user's, or a command's; `address` is where a request came from."""

    name: str
    source: Operation.Source
    user: AbstractBaseUser | None = None
    address: str | None = None

    def log(self, row: models.Model, text: str, *, action: str = AuditEntry.Action.CHANGED) -> None:
        """One entry in the audit."""
        self.log_all([row], text, action=action)

    def log_all(self, rows: Sequence[models.Model], text: str, *, action: str = AuditEntry.Action.CHANGED) -> None:
        """One entry for each of the rows, in one statement."""
        AuditEntry.objects.bulk_create([self.entry(row, text, action=action) for row in rows])

    def entry(self, row: models.Model, text: str, *, action: str) -> AuditEntry:
        """The entry about a row, not saved yet."""
        return AuditEntry(
            action=action,
            actor=self.name[:NAME_LENGTH],
            user_id=self.user.pk if self.user else None,
            source=self.source,
            address=self.address,
            object_type=str(row._meta.verbose_name),
            object_id=str(row.pk),
            object_name=str(row)[:NAME_LENGTH],
            text=text[:TEXT_LENGTH],
        )
