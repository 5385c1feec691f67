"""Git remotes that are watched."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Greatest, Least, Now, Power

from syncsvc.error_kinds import UNREACHED_KINDS
from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.authorities import check_certificates
from syncsvc.git.branch import wrong_with_branch
from syncsvc.git.credential import check_token, check_username
from syncsvc.git.known_hosts import check_known_hosts
from syncsvc.git.remote import HttpCredential, Remote, SshCredential
from syncsvc.git.ssh_key import check_private_key
from syncsvc.git.url import GivenUrl, read_url
from syncsvc.ids import uuid_of
from syncsvc.models.error import error_kind_field, error_kind_known
from syncsvc.models.fields import CheckedCharField, CheckedTextField, SealedField
from syncsvc.models.hosts import host_of
from syncsvc.types import RemoteHead

# A remote that is back is polled within so many seconds, however long it was to be left alone.
REACHED_SECONDS = 5
# Seconds that a commit is left alone after its first failed fetch, and at most; doubled with each failure.
FETCH_WAIT_SECONDS, FETCH_WAIT_MOST_SECONDS, MOST_DOUBLINGS = 5.0, 1800.0, 16


def given_url(text: str) -> GivenUrl:
    """A remote that somebody typed, in the form that is stored; InvalidUrlError says what is wrong with it."""
    return read_url(text, allow_local=settings.GIT_ALLOW_LOCAL)


def validate_remote_url(url: str) -> None:
    try:
        given_url(url)
    except InvalidUrlError as error:
        raise ValidationError(str(error)) from error


def validate_repository_name(name: str) -> None:
    if not name.isprintable() or name != name.strip():
        raise ValidationError("A repository's name is one line without space at its ends; leave it out for owner/repo.")
    if uuid_of(name):
        raise ValidationError("A repository's name must not look like a UUID; commands take either.")


def validate_branch(branch: str) -> None:
    if branch.startswith(("-", "refs/")) or (branch and wrong_with_branch(branch)):
        raise ValidationError("Give the branch's short name, such as main; blank follows the remote's HEAD.")


class RemoteUrlField(CheckedCharField):
    """A remote's URL. The user name of an https://user@host/… goes to the row's credential, unless it has one."""

    def checked(self, text: str, row: models.Model | None) -> str:
        given = given_url(text)
        if given.username and isinstance(row, Repository):
            row.username = row.username or given.username
        return given.url


def _no_poll_runs() -> Q:
    return Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())


class RepositoryQuerySet(models.QuerySet["Repository"]):
    def named(self, name_or_id: str) -> "Repository":
        """The repository of that name or id; Repository.DoesNotExist where there is none."""
        return self.get(id=row_id) if (row_id := uuid_of(name_or_id)) else self.get(name=name_or_id)

    def request_check(self, repository_id: uuid.UUID) -> bool:
        """Makes its poll due now, and marks it as asked for; False while one runs, or where it is paused."""
        asked = self.filter(_no_poll_runs(), id=repository_id, is_active=True)
        return asked.update(due_at=Now(), queued_at=Now()) == 1

    def claim(self, repository_id: uuid.UUID, *, token: uuid.UUID) -> bool:
        """Takes the lease for one poll."""
        return (
            self.filter(_no_poll_runs(), id=repository_id, is_active=True, due_at__lte=Now()).update(
                lease_token=token,
                lease_expires_at=Now() + timedelta(seconds=settings.LEASE_SECONDS),
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
        """Ends a poll that got no answer; the next is due in `delay` seconds, or when the circuit's cool-down ends."""
        return self._end_poll(
            repository_id, token, due_at=Greatest(Now() + timedelta(seconds=delay), F("circuit_until"))
        )

    def passed_over(self, repository_id: uuid.UUID, *, token: uuid.UUID, delay: float) -> bool:
        """Ends a poll that did not ask: its host is left alone, for `delay` seconds."""
        return self._end_poll(repository_id, token, due_at=Now() + timedelta(seconds=delay))

    def handed_back(self, repository_id: uuid.UUID, *, token: uuid.UUID) -> bool:
        """Ends a poll that was broken off: it is due, and asked for, as before."""
        return self.filter(id=repository_id, lease_token=token).update(lease_token=None, lease_expires_at=None) == 1

    def _end_poll(self, repository_id: uuid.UUID, token: uuid.UUID, due_at: Any, **fields: Any) -> bool:
        ended = {"lease_token": None, "lease_expires_at": None, "queued_at": None, "due_at": due_at, **fields}
        return self.filter(id=repository_id, lease_token=token).update(**ended) == 1

    def head_moved(self, repository: "Repository", known: RemoteHead, head: RemoteHead) -> bool:
        """Records where the remote's branch stands, if the record still says `known`; says whether it did.

        Nothing is recorded where the repository has another URL or branch by now than the one that was asked.
        """
        asked = self.filter(id=repository.id, url=repository.url, branch=repository.branch)
        record = asked.filter(head_branch=known.branch, head_commit=known.commit or "")
        return record.update(head_commit=head.commit or "", head_branch=head.branch, head_moved_at=Now()) == 1

    def reached(self, repository_id: uuid.UUID) -> bool:
        """Ends a streak of failures, since git answered; says whether there was one. The next poll is due soon.

        A commit that could not be fetched while the remote was unreachable may be fetched at once.
        """
        unreached = When(error_kind__in=UNREACHED_KINDS, then=Value(None, output_field=models.DateTimeField()))
        return (
            self.filter(id=repository_id, failure_streak__gt=0).update(
                failure_streak=0,
                circuit_until=None,
                circuit_openings=0,
                error_kind="",
                last_error="",
                failing_since=None,
                fetch_until=Case(unreached, default=F("fetch_until")),
                due_at=Least(F("due_at"), Now() + timedelta(seconds=REACHED_SECONDS)),
            )
            == 1
        )

    def fetch_failed(
        self, repository_id: uuid.UUID, *, commit: str, kind: str, error: str, wait: float | None = None
    ) -> None:
        """A commit could not be fetched: all apps leave it alone for a time that doubles with each failure.

        `wait` is what the remote asked for, in seconds: it is left alone for no less.
        """
        again = Q(unfetchable_commit=commit)
        failures = Case(When(again, then=F("fetch_failures") + 1), default=Value(1))
        doubled = Least(
            Value(FETCH_WAIT_SECONDS) * Power(Value(2.0), Least(failures, Value(MOST_DOUBLINGS)) - Value(1)),
            Value(FETCH_WAIT_MOST_SECONDS),
            output_field=models.FloatField(),
        )
        seconds = Greatest(doubled, Value(wait or 0.0), output_field=models.FloatField())
        self.filter(id=repository_id).update(
            unfetchable_commit=commit,
            fetch_failures=failures,
            fetch_until=Now() + seconds * timedelta(seconds=1),
            error_kind=kind,
            last_error=error[:1000],
            failing_since=Coalesce("failing_since", Now()),
        )

    def fetched(self, repository_id: uuid.UUID) -> bool:
        """A fetch succeeded: ends a streak of failed ones. Says whether there was one."""
        failed = self.filter(id=repository_id, fetch_failures__gt=0)
        ended = {"unfetchable_commit": "", "fetch_failures": 0, "fetch_until": None}
        failed.filter(failure_streak=0).update(error_kind="", last_error="", failing_since=None)
        return failed.update(**ended) == 1


class Repository(models.Model):
    """A git remote, the credential that reads it, and the branch that is followed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True, validators=[validate_repository_name])
    url = RemoteUrlField("URL", max_length=2000, validators=[validate_remote_url])
    # Host and port of the URL, in small letters; blank for a local path.
    host = models.GeneratedField(
        expression=host_of("url"), output_field=models.CharField(max_length=2000), db_persist=True
    )
    branch = models.CharField(
        max_length=250, blank=True, default="", validators=[validate_branch], help_text="Blank: the remote's HEAD."
    )
    username = CheckedCharField(max_length=200, blank=True, default="", check=check_username)
    token = SealedField(null=True, editable=False, check=check_token)
    ssh_key = SealedField(null=True, editable=False, check=check_private_key)
    # Lines of an OpenSSH known_hosts file: the only host keys that are accepted.
    known_hosts = CheckedTextField(blank=True, default="", check=check_known_hosts)
    # PEM: authorities that are trusted for this remote besides the public ones.
    ca_certificate = CheckedTextField("CA certificate", blank=True, default="", db_default="", check=check_certificates)
    poll_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Blank: the setting POLL_SECONDS."
    )
    is_active = models.BooleanField("active", default=True, help_text="Off: paused. Nothing is lost, nothing is sent.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    due_at = models.DateTimeField(db_default=Now(), editable=False)
    # Somebody asked for a check then: it is made even while its host is left alone.
    queued_at = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    # Where the remote's branch stood when it was last asked; both blank: not asked yet, or without a commit.
    # A commit without a branch: the remote's HEAD is on none.
    head_branch = models.CharField(max_length=250, blank=True, default="", editable=False)
    head_commit = models.CharField(max_length=64, blank=True, default="", editable=False)
    # When that was last seen to differ: a run that has read an older one goes on to the next.
    head_moved_at = models.DateTimeField(null=True, editable=False)

    error_kind = error_kind_field(editable=False)
    last_error = models.CharField(max_length=1000, blank=True, default="", editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    failure_streak = models.PositiveIntegerField(default=0, editable=False)
    # Nothing is asked of the remote until then; how often that was so in a row.
    circuit_until = models.DateTimeField(null=True, editable=False)
    circuit_openings = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # A commit that the remote has and that could not be fetched, how often in a row, and until when nobody tries again.
    unfetchable_commit = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    fetch_failures = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    fetch_until = models.DateTimeField(null=True, editable=False)

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
            # What waits for a host whose circuit closes.
            models.Index(fields=["host"], name="repository_host"),
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
        return Remote(url=self.url, branch=self.branch, credential=credential, ca_certificate=self.ca_certificate)

    @property
    def shown_branch(self) -> str:
        """The branch that is followed, as far as it is known; HEAD where the remote's HEAD is on none."""
        return self.branch or self.head_branch or ("HEAD" if self.head_commit else "")

    @property
    def poll_interval(self) -> int:
        """Seconds between two polls."""
        return self.poll_seconds or settings.POLL_SECONDS
