"""Tokens with which scripts call the API in a user's name."""

import hashlib
import secrets
import uuid
from datetime import timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

MARK = "syncsvc_"  # so that scanners for leaked secrets recognise one
SHOWN = len(MARK) + 6
# `last_used_at` is this exact, so that a script in a loop does not write a row with every request.
USED_EVERY = timedelta(minutes=1)


def new_token() -> str:
    return f"{MARK}{secrets.token_urlsafe(32)}"


def digest_of(token: str) -> str:
    """256 random bits need no slow hash; looking the hash up tells a caller nothing about a token it does not have."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenScope(models.TextChoices):
    READ = "read"
    RETRY = "retry"
    RESYNC = "resync", "re-sync"
    CANCEL = "cancel", "cancel, pause and resume"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, token: str) -> "ApiToken | None":
        """The row of a token that is neither revoked nor expired and whose user is active; notes that it was used."""
        good = self.filter(digest=digest_of(token), revoked_at=None, expires_at__gt=Now(), user__is_active=True)
        found = good.select_related("user").first()
        if found is not None:
            unnoted = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USED_EVERY)
            self.filter(unnoted, id=found.id).update(last_used_at=Now())
        return found

    def revoke(self, token_id: uuid.UUID) -> bool:
        """From now on it opens nothing; False where it was revoked before."""
        return self.filter(id=token_id, revoked_at=None).update(revoked_at=Now()) == 1


class ApiToken(models.Model):
    """A bearer token: it may do what its user may and its scopes name. Only its hash is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    scopes = ArrayField(models.CharField(max_length=6, choices=TokenScope))
    # The first characters, by which people tell tokens apart.
    prefix = models.CharField(max_length=20, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField("expires")
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(scopes__contained_by=TokenScope.values, scopes__len__gt=0), name="token_scopes_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def set_token(self, token: str) -> None:
        self.prefix, self.digest = token[:SHOWN], digest_of(token)
