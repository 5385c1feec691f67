"""Where a repository's branch stands on its remote, and who must be told when that has moved."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from syncsvc.error_kinds import REMOTE_KINDS
from syncsvc.exceptions import GitError
from syncsvc.git.remote import GitLimits, remote_head
from syncsvc.models import Repository, Subscription, Trigger
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.job import BULK_NICE, SUSPECT_NICE, Job, git_limits, is_suspect
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.remote_circuits import (
    GitCircuitOpenError,
    enter_host,
    host_left_alone,
    host_was_not_asked,
    remote_answered,
    remote_failed,
    repository_left_alone,
)
from syncsvc.sync.shared import Shared
from syncsvc.sync.watch import RunEndsError
from syncsvc.types import ErrorKind, RemoteHead
from syncsvc.words import counted

# A poll's finding is good for the runs it asked for, even where these wait for a worker for a while.
POLLS_GOOD_FOR = 3
# Who was overtaken by another's finding looks again: of two heads it is not known which is the newer one.
LOOKS = 5


def head_for(job: Job) -> RemoteHead:
    """What a run goes by: the poll's finding where a poll asked for it, else the remote itself."""
    repository = job.repository
    if job.released_at is not None:
        return _asked_since(job, job.released_at)
    if job.trigger.asked_for:
        return ask_remote(repository, but_not=job.subscription, interrupt=job.check)
    if repository.circuit_until and repository.circuit_until > job.started_at:
        raise repository_left_alone(repository, (repository.circuit_until - job.started_at).total_seconds())
    if _recently_checked(job):
        return RemoteHead(repository.head_branch, repository.head_commit or None)
    enter_host(repository)
    return ask_remote(repository, but_not=job.subscription, interrupt=job.check)


def _asked_since(job: Job, released_at: datetime) -> RemoteHead:
    """What the remote said since an operation released this item: its other apps' items need not ask again."""
    repository = job.repository
    if repository.checked_at and repository.checked_at >= released_at and not repository.failure_streak:
        return RemoteHead(repository.head_branch, repository.head_commit or None)
    if repository.host and host_left_alone(repository):
        # One item asks for all of the host's, though it is not time yet; the others wait for what comes of it.
        _of_hosts.get(
            repository.host,
            lambda: _look_at(job, released_at),
            good=lambda look: look.asked_at >= released_at,
            interrupt=job.check,
        )
        if left_alone := host_left_alone(repository):
            raise left_alone
    look = _look_at(job, released_at)
    if look.error is not None:
        # Each run raises one of its own: an exception keeps what it was raised through.
        raise look.error.copy()
    return look.head


def _look_at(job: Job, released_at: datetime) -> "_Look":
    return _looks.get(
        _asked_of(job.repository),
        lambda: _Look.at(job),
        good=lambda look: look.is_good_for(job, released_at),
        interrupt=job.check,
    )


def _asked_of(repository: Repository) -> tuple[object, ...]:
    """Of another URL or branch, or with another credential, the answer may be another; secrets stay sealed."""
    sealed = (secret.token if secret else None for secret in (repository.token, repository.ssh_key))
    address = (repository.url, repository.branch, repository.username)
    return repository.id, *address, repository.known_hosts, repository.ca_certificate, *sealed


def has_other_remote(repository: Repository) -> bool:
    """Since this row was read its URL, branch or credential was changed: what git met says nothing of the new one."""
    row = Repository.objects.filter(id=repository.id).first()
    return row is not None and _asked_of(row) != _asked_of(repository)


@dataclass(frozen=True, slots=True)
class _Look:
    """What came of asking a remote; `asked_at` and `noted_at` are the database's times before and after that."""

    asked_at: datetime
    noted_at: datetime
    head: RemoteHead
    error: GitError | None = None

    @classmethod
    def at(cls, job: Job) -> "_Look":
        asked_at = job.now()
        try:
            head = ask_remote(job.repository, but_not=job.subscription, in_bulk=True, interrupt=job.check)
        except GitError as error:
            return cls(asked_at, job.now(), RemoteHead("", None), error)
        Repository.objects.looked(job.repository, at=asked_at)
        return cls(asked_at, job.now(), head)

    def is_good_for(self, job: Job, released_at: datetime) -> bool:
        """Where the repository was read after this was noted, and says something else, somebody looked since."""
        said = self.error is not None or job.started_at < self.noted_at or _stands_at(job.repository, self.head)
        return said and self.asked_at >= released_at


KEPT_LOOKS = 1_000
_looks: Shared[_Look] = Shared(room=KEPT_LOOKS)
_of_hosts: Shared[_Look] = Shared(room=KEPT_LOOKS)


def check_fetchable(job: Job, commit: str) -> None:
    """GitCircuitOpenError where this commit could not be fetched a moment ago: one app's try serves all.

    A run that an operator asked for tries all the same.
    """
    repository = job.repository
    until = repository.fetch_until
    if until is None or commit != repository.unfetchable_commit or until <= job.now():
        return
    if job.trigger.by_operator and not job.in_bulk:
        return
    kind = ErrorKind(repository.error_kind or ErrorKind.GIT_CORRUPT)
    remaining = (until - job.now()).total_seconds()
    message = (
        f"The commit {commit[:12]} could not be fetched {counted(repository.fetch_failures, 'time')} in a row;"
        f" it is tried again for all apps in {remaining:.0f} s. The last error: {repository.last_error}"
    )
    raise GitCircuitOpenError(kind, message, retry_after=remaining)


def ask_remote(
    repository: Repository,
    *,
    but_not: Subscription | None = None,
    in_bulk: bool = False,
    interrupt: Callable[[], None] | None = None,
) -> RemoteHead:
    """An `ls-remote`; its outcome counts for the repository's circuit, and a moved head asks for the others' runs.

    `interrupt` is called once a second meanwhile; it may raise, which ends git.
    """
    nice = SUSPECT_NICE if is_suspect(repository) else BULK_NICE if in_bulk else 0
    for _ in range(LOOKS):
        head = _look(repository, git_limits(nice=nice, interrupt=interrupt))
        found(repository, head, but_not=but_not)
        if not _stands_at(repository, head):
            if has_other_remote(repository):
                break
            repository.refresh_from_db(fields=["head_branch", "head_commit", "head_moved_at"])
        if _stands_at(repository, head):
            break
    return head


def found(repository: Repository, head: RemoteHead, *, but_not: Subscription | None = None) -> bool:
    """Takes note that git answered, and where the branch stands; says whether it moved.

    False as well where somebody else took note since `repository` was read: which of both is newer is not known.
    """
    if repository.failure_streak and Repository.objects.reached(repository.id):
        waiting = Subscription.objects.filter(repository=repository, error_kind__in=REMOTE_KINDS)
        _ask(waiting.exclude(status="synced"), but_not)
    if _stands_at(repository, head):
        return False
    known = RemoteHead(repository.head_branch, repository.head_commit or None)
    with transaction.atomic():
        moved = Repository.objects.head_moved(repository, known, head)
        if moved:
            _ask(Subscription.objects.filter(repository=repository), but_not)
    if moved:
        repository.head_branch, repository.head_commit = head.branch, head.commit or ""
    return moved


def _look(repository: Repository, limits: GitLimits) -> RemoteHead:
    try:
        head = remote_head(repository.remote, limits)
    except GitError as error:
        if not has_other_remote(repository):
            remote_failed(repository, error)
        raise
    except (RunEndsError, LeaseLostError):
        host_was_not_asked(repository)
        raise
    remote_answered(repository)
    return head


def _stands_at(repository: Repository, head: RemoteHead) -> bool:
    return (repository.head_branch, repository.head_commit) == (head.branch, head.commit or "")


def _ask(subscriptions: SubscriptionQuerySet, but_not: Subscription | None) -> None:
    if but_not is not None:
        subscriptions = subscriptions.exclude(id=but_not.id)
    ask_for_runs(subscriptions, Trigger.POLL)


def _recently_checked(job: Job) -> bool:
    repository = job.repository
    if not repository.checked_at or not repository.head_commit or repository.failure_streak:
        return False
    age = job.started_at - repository.checked_at
    return age < timedelta(seconds=POLLS_GOOD_FOR * max(repository.poll_interval, settings.REQUEUE_AFTER))
