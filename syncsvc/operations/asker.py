"""Who asks: recorded on the run, the operation and in the admin log."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.db import models

from syncsvc.models import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """`name` is a user's, or a command's; `address` is where a request came from."""

    name: str
    source: Operation.Source
    user: AbstractBaseUser | None = None
    address: str | None = None

    def log(self, row: models.Model, text: str) -> None:
        """One entry in the admin's log; it belongs to a user, so a command without one leaves none."""
        self.log_all([row], text)

    def log_all(self, rows: Sequence[models.Model], text: str, *, action: int = CHANGE) -> None:
        """One entry for each of the rows, in one statement."""
        if self.user is not None and rows:
            LogEntry.objects.log_actions(self.user.pk, rows, action, text)
