"""Changing a repository: its columns, the credential that must fit its URL, and what another remote makes due."""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from syncsvc import wakeup
from syncsvc.error_kinds import REMOTE_KINDS
from syncsvc.exceptions import Refused
from syncsvc.git.url import scheme_of
from syncsvc.models import Repository, Subscription
from syncsvc.operations import pausing
from syncsvc.operations.asker import Asker
from syncsvc.operations.due import make_due
from syncsvc.operations.removal import still_there

# Fields that say which remote is asked, for what, and as whom.
REMOTE = frozenset({"url", "branch", "username", "token", "ssh_key", "known_hosts", "ca_certificate"})


def save_repository(repository: Repository, asker: Asker, *, changed: Collection[str]) -> None:
    """Writes these fields of a repository that has been validated, and no other: its poll may be running.

    Another remote, branch or credential is asked at once, and each subscription that git failed for is due within
    seconds. Refused: `not_found` where somebody has deleted it meanwhile.
    """
    rows = Repository.objects.filter(pk=repository.pk)
    with still_there(repository), transaction.atomic():
        if columns := set(changed) - {"is_active"}:
            repository.save(update_fields=columns)
        if REMOTE & set(changed):
            # All of them: a run that is about to fail settles before this, and is made due, or after it, and sees the
            # new remote.
            Subscription.objects.filter(repository=repository).in_order()
            poll_afresh(repository)
            make_due(Subscription.objects.filter(repository=repository, error_kind__in=REMOTE_KINDS))
        if "is_active" in changed:
            change = pausing.resume if repository.is_active else pausing.pause
            change(rows, asker)


def credential_problems(repository: Repository) -> dict[str, str]:
    """Problems of the credential with the repository's URL, by field; the URL must have been checked."""
    scheme, token, ssh_key = scheme_of(repository.url), repository.token, repository.ssh_key
    problems: list[tuple[str, str]] = []
    if token and ssh_key:
        problems.append(("token", "A repository has a token or an SSH key, not both; remove one of them."))
    elif scheme == "ssh" and token:
        problems.append(("token", "An ssh URL is read with an SSH key, not with a token; remove the token."))
    elif scheme == "ssh" and not ssh_key:
        problems.append(("ssh_key", "An ssh URL is read with an SSH private key; give one."))
    elif scheme != "ssh" and ssh_key:
        problems.append(("ssh_key", "An SSH key needs an ssh URL, such as git@host:owner/repo.git."))
    elif token and scheme not in {"http", "https"}:
        problems.append(("token", "Only http and https URLs take a token; change the URL or leave it out."))
    if ssh_key and not repository.known_hosts.strip():
        problems.append(("known_hosts", "An SSH key needs the host's key lines; `ssh-keyscan HOST` prints them."))
    if repository.username and not token:
        problems.append(("username", "A user name goes with a token; give one, or leave the user name blank."))
    return dict(problems)


def check_now(repository_id: UUID) -> None:
    """Has a worker ask the remote now where its branch stands.

    Refused: `conflict` where a poll asks it already; `paused`; `not_found`.
    """
    with transaction.atomic():
        if Repository.objects.request_check(repository_id):
            wakeup.wake_polls([repository_id])
            return
    repository = Repository.objects.filter(pk=repository_id).first()
    if repository is None:
        raise Refused("not_found", f"There is no repository {repository_id}; somebody may have deleted it.")
    if not repository.is_active:
        raise Refused("paused", f"{repository} is paused. Resume it first.")
    raise Refused("conflict", f"A check of {repository} is running already")


def poll_afresh(repository: Repository) -> None:
    """Makes the next poll due now; forgets failures, and a poll that is running: they are about another remote."""
    Repository.objects.filter(pk=repository.pk).update(
        due_at=Now(),
        queued_at=None,
        lease_token=None,
        lease_expires_at=None,
        checked_at=None,
        failure_streak=0,
        circuit_until=None,
        circuit_openings=0,
        unfetchable_commit="",
        fetch_failures=0,
        fetch_until=None,
        error_kind="",
        last_error="",
        failing_since=None,
    )
