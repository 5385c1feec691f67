"""Who asks: recorded on the run, the operation and in the admin log."""

from dataclasses import dataclass

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.contenttypes.models import ContentType
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
        if self.user is None:
            return
        LogEntry.objects.create(
            user_id=self.user.pk,
            content_type_id=ContentType.objects.get_for_model(row).pk,
            object_id=str(row.pk),
            object_repr=str(row)[:200],
            action_flag=CHANGE,
            change_message=text,
        )
