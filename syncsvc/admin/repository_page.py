"""The panels of a repository's page: where its remote stands, when it was asked, and what was taken in."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from syncsvc.admin import kept
from syncsvc.admin.moments import with_moments
from syncsvc.admin.panels import Panel, Panels
from syncsvc.admin.parts import sees, version_of
from syncsvc.admin.standing import rows_context
from syncsvc.models import Repository, Snapshot, Subscription
from syncsvc.statistics.pages import repository_numbers, repository_with_counts
from syncsvc.statistics.stale import is_stale

SNAPSHOTS = 10


def remote(request: HttpRequest, repository: Repository) -> dict[str, Any]:
    """The row itself, and numbers of its subscriptions that all who look share."""
    numbers = _numbers_of(repository)
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
    return {
        "counts": counts,
        "host": host,
        "check": check,
        "stale": is_stale(repository, timezone.now()),
        "version": version,
        "moves": bool(check or (counts["moving"] and repository.is_active)),
    }


def rows(request: HttpRequest, repository: Repository) -> dict[str, Any]:
    if not sees(request, Subscription):
        return {"may_see_rows": False}
    return {"may_see_rows": True, **rows_context(request, repository, _numbers_of(repository)["counts"])}


def for_part(repository_id: UUID) -> Repository | None:
    """The repository, and with it in one statement what a poll would have to ask for anew."""
    if kept.is_fresh(f"repository:{repository_id}"):
        return Repository.objects.filter(pk=repository_id).first()
    repository = repository_with_counts(repository_id)
    if repository is not None:
        kept.keep(f"repository:{repository_id}", getattr(repository, "numbers"))  # noqa: B009 - the annotation
    return repository


def _numbers_of(repository: Repository) -> dict[str, Any]:
    """As they came with the row, or are kept; they stay on the row, for the other panels."""
    known = vars(repository)
    if "numbers" not in known:
        known["numbers"] = kept.kept(f"repository:{repository.pk}", lambda: repository_numbers(repository.pk))
    numbers: dict[str, Any] = with_moments(json.loads(known["numbers"]))
    return numbers


def forget(repository: Repository) -> None:
    kept.forget(f"repository:{repository.pk}")


def check_state(repository: Repository, now: datetime) -> str:
    """`running` while git asks the remote, `queued` while that waits for a worker; else blank."""
    if repository.lease_expires_at is not None and repository.lease_expires_at > now:
        return "running"
    lost = now - timedelta(seconds=settings.REQUEUE_AFTER)
    return "queued" if repository.queued_at is not None and repository.queued_at > lost else ""


def snapshots(request: HttpRequest, repository: Repository) -> dict[str, Any]:
    """The newest of them with what each changed."""
    if not sees(request, Snapshot):
        return {"may_see_snapshots": False}
    found = list(repository.snapshots.order_by("-id")[: SNAPSHOTS + 1])
    return {"may_see_snapshots": True, "snapshots": found[:SNAPSHOTS], "more_snapshots": len(found) > SNAPSHOTS}


PANELS: Panels = {
    "remote": Panel(context=remote, tells=True, row=for_part),
    "rows": Panel(context=rows),
    "snapshots": Panel(context=snapshots),
}
