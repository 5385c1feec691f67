"""Who did what, kept for longer than who did it and what it was done to."""

from datetime import timedelta
from ipaddress import ip_address

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.models.operation import Operation

NAME_LENGTH, TEXT_LENGTH = 200, 1000


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def about(self, text: str) -> "AuditQuerySet":
        """The entries of whoever or whatever has this name, id or address, in full."""
        named = Q(actor=text) | Q(object_id=text) | Q(object_name=text)
        return self.filter(named | Q(address=text) if _is_address(text) else named)

    def note_again(self, entry: "AuditEntry", *, within: timedelta, known_only: bool = False) -> None:
        """Counts what somebody does again and again, from one address, as one entry; saves a new one after `within`.

        `known_only`: counts for an entry that there is, or not at all.
        """
        same = self.filter(action=entry.action, actor=entry.actor, object_id=entry.object_id, at__gt=Now() - within)
        from_there = same.filter(address=entry.address) if entry.address else same.filter(address__isnull=True)
        if not from_there.update(times=F("times") + 1, last_at=Now()) and not known_only:
            entry.save(force_insert=True)


class AuditEntry(models.Model):
    """Somebody did something. It refers to no row: names are kept as they were."""

    class Action(models.TextChoices):
        ADDED = "added", "added"
        CHANGED = "changed", "changed"
        DELETED = "deleted", "deleted"
        LOGGED_IN = "logged_in", "logged in"
        LOGIN_FAILED = "login_failed", "login failed"
        LOGGED_OUT = "logged_out", "logged out"
        TOKEN_USED = "token_used", "token used"

    at = models.DateTimeField(db_default=Now(), editable=False)
    # Failed logins and uses of a token are one entry for many: how often, and when last.
    times = models.PositiveIntegerField(default=1, db_default=1)
    last_at = models.DateTimeField("last", db_default=Now(), editable=False)
    action = models.CharField(max_length=12, choices=Action)
    # A user's name, or a command with the name of who ran it; blank: nobody that syncsvc knows.
    actor = models.CharField("who", max_length=NAME_LENGTH, blank=True, default="")
    user_id = models.BigIntegerField(null=True)  # tells apart users who had the same name one after the other
    source = models.CharField(max_length=7, choices=Operation.Source)
    address = models.GenericIPAddressField(null=True)
    # What it was done to: `app`, `user`; its primary key as text; its name at that time.
    object_type = models.CharField("kind", max_length=50, blank=True, default="")
    object_id = models.CharField(max_length=64, blank=True, default="")
    object_name = models.CharField("what", max_length=NAME_LENGTH, blank=True, default="")
    text = models.CharField(max_length=TEXT_LENGTH, blank=True, default="")

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (
            # The log of one row, and the list filtered by one thing.
            models.Index(fields=["object_id", "-id"], name="audit_of_object"),
            # What one person did, and what was done to one thing or from one address.
            models.Index(fields=["actor", "-id"], name="audit_of_actor"),
            models.Index(fields=["object_name", "-id"], name="audit_of_name"),
            models.Index(fields=["address", "-id"], name="audit_of_address"),
            # The list filtered by time, and retention.
            models.Index(fields=["at"], name="audit_at"),
            # note_again: the entry that a repeated action counts for.
            models.Index(
                fields=["action", "actor", "-at"],
                name="audit_repeated",
                condition=Q(action__in=("login_failed", "token_used")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.actor or 'Somebody'} {self.get_action_display()} {self.object_name}".rstrip()
