"""Git remotes that are watched."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce, Greatest, Now

from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.remote import HttpCredential, Remote, SshCredential
from syncsvc.git.url import check_url
from syncsvc.ids import uuid_of
from syncsvc.models.error import error_kind_field, error_kind_known
from syncsvc.models.fields import NormalTextField, SealedField
from syncsvc.types import RemoteHead


def validate_remote_url(url: str) -> str:
    """The URL as it is stored."""
    try:
        return check_url(url, allow_local=settings.GIT_ALLOW_LOCAL)
    except InvalidUrlError as error:
        raise ValidationError(str(error)) from error


def validate_repository_name(name: str) -> None:
    if not name.isprintable() or name != name.strip():
        raise ValidationError("A repository's name is one line without space at its ends; leave it out for owner/repo.")
    if uuid_of(name):
        raise ValidationError("A repository's name must not look like a UUID; commands take either.")


def validate_branch(branch: str) -> None:
    if branch.startswith(("-", "refs/")) or any(c in branch for c in " ~^:?*[\\") or ".." in branch:
        raise ValidationError("Give the branch's short name, such as main; blank follows the remote's HEAD.")


class RepositoryQuerySet(models.QuerySet["Repository"]):
    def named(self, name_or_id: str) -> "Repository":
        """The repository of that name or id; Repository.DoesNotExist where there is none."""
        return self.get(id=row_id) if (row_id := uuid_of(name_or_id)) else self.get(name=name_or_id)

    def due(self) -> "RepositoryQuerySet":
        """Those whose poll is due, is not on its way to a worker, and is not running."""
        lost = Now() - timedelta(seconds=settings.REQUEUE_AFTER)
        return self.filter(
            Q(queued_at=None) | Q(queued_at__lt=lost),
            Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now()),
            is_active=True,
            due_at__lte=Now(),
        )

    def request_check(self, repository_id: uuid.UUID) -> bool:
        """Makes its poll due now, marked as on its way to a worker; False while one runs, or where it is paused."""
        free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
        asked = self.filter(free, id=repository_id, is_active=True)
        return asked.update(due_at=Now(), queued_at=Now()) == 1

    def claim(self, repository_id: uuid.UUID, *, token: uuid.UUID) -> bool:
        """Takes the lease for one poll."""
        free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
        return (
            self.filter(free, id=repository_id, is_active=True, due_at__lte=Now()).update(
                lease_token=token,
                lease_expires_at=Now() + timedelta(seconds=settings.LEASE_SECONDS),
                queued_at=None,
            )
            == 1
        )

    def checked(self, repository_id: uuid.UUID, *, token: uuid.UUID, at: datetime, delay: float) -> bool:
        """Ends a poll that asked the remote `at` that time and got an answer; the next is due in `delay` seconds."""
        seen = Greatest(F("checked_at"), at)
        return self._end_poll(repository_id, token, due_at=Now() + timedelta(seconds=delay), checked_at=seen)

    def looked(self, repository: "Repository", *, at: datetime) -> None:
        """A run asked the remote then: what is recorded of it is as good as a poll's finding.

        Unless it was asked of another URL or branch than the repository has by now.
        """
        asked = self.filter(id=repository.id, url=repository.url, branch=repository.branch, failure_streak=0)
        asked.update(checked_at=Greatest(F("checked_at"), at))

    def check_failed(self, repository_id: uuid.UUID, *, token: uuid.UUID, delay: float) -> bool:
        """Ends a poll that did not; the next is due in `delay` seconds, or when the circuit's cool-down ends."""
        return self._end_poll(
            repository_id, token, due_at=Greatest(Now() + timedelta(seconds=delay), F("circuit_until"))
        )

    def _end_poll(self, repository_id: uuid.UUID, token: uuid.UUID, due_at: Any, **fields: Any) -> bool:
        ended = {"lease_token": None, "lease_expires_at": None, "due_at": due_at, **fields}
        return self.filter(id=repository_id, lease_token=token).update(**ended) == 1

    def head_moved(self, repository_id: uuid.UUID, known: RemoteHead, head: RemoteHead) -> bool:
        """Records where the remote's branch stands, if the record still says `known`; says whether it did."""
        record = self.filter(id=repository_id, head_branch=known.branch, head_commit=known.commit or "")
        return record.update(head_commit=head.commit or "", head_branch=head.branch, head_moved_at=Now()) == 1

    def reached(self, repository_id: uuid.UUID) -> bool:
        """git answered: a streak of failures ends. Says whether there was one."""
        return (
            self.filter(id=repository_id, failure_streak__gt=0).update(
                failure_streak=0, circuit_until=None, error_kind="", last_error="", failing_since=None
            )
            == 1
        )

    def count_failure(self, repository_id: uuid.UUID, *, kind: str, error: str) -> None:
        """Adds a failure of git, and opens the circuit at CIRCUIT_THRESHOLD in a row."""
        too_often = When(
            failure_streak__gte=settings.CIRCUIT_THRESHOLD - 1,
            then=Now() + timedelta(seconds=settings.GIT_CIRCUIT_COOLDOWN_SECONDS),
        )
        self.filter(id=repository_id).update(
            failure_streak=F("failure_streak") + 1,
            error_kind=kind,
            last_error=error[:1000],
            failing_since=Coalesce("failing_since", Now()),
            circuit_until=Case(too_often, default=None),
        )


class Repository(models.Model):
    """A git remote, the credential that reads it, and the branch that is followed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True, validators=[validate_repository_name])
    url = NormalTextField("URL", max_length=2000, normal=validate_remote_url)
    branch = models.CharField(
        max_length=250, blank=True, default="", validators=[validate_branch], help_text="Blank: the remote's HEAD."
    )
    username = models.CharField(max_length=200, blank=True, default="")
    token = SealedField(null=True, editable=False)
    ssh_key = SealedField(null=True, editable=False)
    # Lines of an OpenSSH known_hosts file: the only host keys that are accepted.
    known_hosts = models.TextField(blank=True, default="")
    poll_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Blank: the setting POLL_SECONDS."
    )
    is_active = models.BooleanField("active", default=True, help_text="Off: paused. Nothing is lost, nothing is sent.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    due_at = models.DateTimeField(db_default=Now(), editable=False)
    queued_at = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    # Where the remote's branch stood when it was last asked; blank: not asked yet, or without a commit.
    head_branch = models.CharField(max_length=250, blank=True, default="", editable=False)
    head_commit = models.CharField(max_length=64, blank=True, default="", editable=False)
    # When that was last seen to differ: a run that has read an older one goes on to the next.
    head_moved_at = models.DateTimeField(null=True, editable=False)

    error_kind = error_kind_field(editable=False)
    last_error = models.CharField(max_length=1000, blank=True, default="", editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    failure_streak = models.PositiveIntegerField(default=0, editable=False)
    circuit_until = models.DateTimeField(null=True, editable=False)

    objects = RepositoryQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "repositories"
        constraints = (
            models.CheckConstraint(condition=~Q(name=""), name="repository_name_not_blank"),
            models.CheckConstraint(
                condition=Q(poll_seconds=None) | Q(poll_seconds__gt=0), name="repository_poll_seconds"
            ),
            error_kind_known("repository"),
        )
        indexes = (
            # The sweep's due query.
            models.Index(fields=["due_at"], condition=Q(is_active=True), name="repository_due"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def remote(self) -> Remote:
        """What git needs to reach it, secrets in the clear: for the moment of a call only."""
        credential: HttpCredential | SshCredential | None = None
        if self.ssh_key is not None:
            credential = SshCredential(private_key=self.ssh_key.reveal(), known_hosts=self.known_hosts)
        elif self.token is not None:
            credential = HttpCredential(username=self.username, token=self.token.reveal())
        return Remote(url=self.url, branch=self.branch, credential=credential)

    @property
    def poll_interval(self) -> int:
        """Seconds between two polls."""
        return self.poll_seconds or settings.POLL_SECONDS
