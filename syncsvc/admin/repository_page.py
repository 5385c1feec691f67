"""The panels of a repository's page: where its remote stands, when it was asked, and what was taken in."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from syncsvc.admin import kept
from syncsvc.admin.moments import with_moments
from syncsvc.admin.moved import version_of
from syncsvc.models import Repository
from syncsvc.statistics.pages import repository_numbers, repository_with_counts

MOVING, STILL = 2, 15  # seconds between two questions of a tab
SNAPSHOTS = 10


def remote(repository: Repository) -> dict[str, Any]:
    """The context of the part `remote`: the row itself, and numbers of its subscriptions that all who look share."""
    read = getattr(repository, "numbers", None)
    text = read or kept.kept(f"repository:{repository.pk}", lambda: repository_numbers(repository.pk))
    numbers = with_moments(json.loads(text))
    counts, host = numbers["counts"], numbers["host"]
    check = check_state(repository, timezone.now())
    version = version_of(
        repository.is_active,
        repository.head_commit,
        repository.checked_at,
        repository.failure_streak,
        sorted(counts.items()),
        host is not None,
    )
    moves = check or (counts["moving"] and repository.is_active)
    return {
        "counts": counts,
        "host": host,
        "check": check,
        "stale": is_stale(repository, timezone.now()),
        "version": version,
        "address": f"{reverse('admin:syncsvc_repository_change', args=[repository.pk])}?part=remote&v={version}",
        "every": MOVING if moves else STILL,
    }


def for_part(repository_id: UUID) -> Repository | None:
    """The repository, and with it in one statement what a poll would have to ask for anew."""
    if kept.is_fresh(f"repository:{repository_id}"):
        return Repository.objects.filter(pk=repository_id).first()
    repository = repository_with_counts(repository_id)
    if repository is not None:
        kept.keep(f"repository:{repository_id}", getattr(repository, "numbers"))  # noqa: B009 - the annotation
    return repository


def forget(repository: Repository) -> None:
    kept.forget(f"repository:{repository.pk}")


def check_state(repository: Repository, now: datetime) -> str:
    """`running` while git asks the remote, `queued` while that waits for a worker; else blank."""
    if repository.lease_expires_at is not None and repository.lease_expires_at > now:
        return "running"
    lost = now - timedelta(seconds=settings.REQUEUE_AFTER)
    return "queued" if repository.queued_at is not None and repository.queued_at > lost else ""


def is_stale(repository: Repository, now: datetime) -> bool:
    """It should have been checked three times since it was; the overview's alarm has the same measure."""
    seen = repository.checked_at or repository.created_at
    return repository.is_active and (now - seen).total_seconds() > max(3 * repository.poll_interval, 300)


def snapshots(repository: Repository) -> dict[str, Any]:
    """The newest of them with what each changed."""
    found = list(repository.snapshots.order_by("-id")[: SNAPSHOTS + 1])
    return {"snapshots": found[:SNAPSHOTS], "more_snapshots": len(found) > SNAPSHOTS}
