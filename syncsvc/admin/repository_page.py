"""The panels of a repository's page: where its remote stands, when it was asked, and what was taken in."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from syncsvc.admin.arrival import tries_again_text
from syncsvc.admin.numbers import Numbers
from syncsvc.admin.panels import Panel, Panels
from syncsvc.admin.parts import sees, version_of
from syncsvc.admin.standing import rows_panel
from syncsvc.admin.tones import Tone, Verdict
from syncsvc.models import Repository, Snapshot
from syncsvc.statistics.pages import repository_numbers, repository_with_counts
from syncsvc.statistics.stale import is_stale

SNAPSHOTS = 10
NUMBERS = Numbers("repository", repository_numbers)


def remote(request: HttpRequest, repository: Repository) -> dict[str, Any]:
    """The state of the remote, and numbers of its subscriptions, which are read once for all tabs."""
    numbers = NUMBERS.of(repository)
    counts, host = numbers["counts"], numbers["host"]
    check, stale = check_state(repository, timezone.now()), is_stale(repository, timezone.now())
    version = version_of(
        repository.is_active,
        repository.head_commit,
        repository.checked_at,
        repository.failure_streak,
        repository.fetch_failures,
        sorted(counts.items()),
        host is not None,
    )
    return {
        "counts": counts,
        "tries_again": tries_again_text(counts),
        "host": host,
        "check": check,
        "stale": stale,
        "trouble": trouble_word(repository),
        "verdict": verdict(repository, counts, host_is_left_alone=host is not None, stale=stale),
        "version": version,
        "moves": bool(check or (counts["moving"] and repository.is_active)),
    }


def verdict(repository: Repository, counts: Mapping[str, Any], *, host_is_left_alone: bool, stale: bool) -> Verdict:
    """The worst condition that the repository is in."""
    found: tuple[tuple[Any, str, Tone], ...] = (
        (not repository.is_active, "Paused", "quiet"),
        (repository.error_kind, trouble_word(repository), "bad"),
        (counts["failed"], f"{counts['failed']:,} failed", "bad"),
        (host_is_left_alone, "Host left alone", "warn"),
        (stale, "Not checked lately", "warn"),
        (counts["retrying"], f"{counts['retrying']:,} retrying", "warn"),
        (counts["failing_runs"], "Not all taken", "warn"),
        (counts["asked_again"], "Asked again", "warn"),
        (not repository.checked_at, "Not checked yet", "warn"),
        (not repository.head_commit, "No commit yet", "quiet"),
    )
    healthy = Verdict(word="Healthy", tone="good")
    return next((Verdict(word=word, tone=tone) for is_so, word, tone in found if is_so), healthy)


def trouble_word(repository: Repository) -> str:
    """A word for git's failure: a remote that answers may have a commit that cannot be fetched."""
    return "Not fetched" if repository.fetch_failures and not repository.failure_streak else "Not reached"


def for_part(repository_id: UUID) -> Repository | None:
    """The repository for a poll of its panel; where its numbers are to be read as well, one statement reads both."""
    if NUMBERS.is_fresh(repository_id):
        return Repository.objects.filter(pk=repository_id).first()
    repository = repository_with_counts(repository_id)
    if repository is not None:
        NUMBERS.keep(repository)
    return repository


def check_state(repository: Repository, now: datetime) -> str:
    """`running` while git asks the remote, `queued` while that waits for a worker; else blank."""
    if repository.lease_expires_at is not None and repository.lease_expires_at > now:
        return "running"
    lost = now - timedelta(seconds=settings.REQUEUE_AFTER)
    return "queued" if repository.queued_at is not None and repository.queued_at > lost else ""


def snapshots(request: HttpRequest, repository: Repository) -> dict[str, Any]:
    """The newest snapshots with the counts of their changes."""
    if not sees(request, Snapshot):
        return {"may_see_snapshots": False}
    found = list(repository.snapshots.order_by("-id")[: SNAPSHOTS + 1])
    return {"may_see_snapshots": True, "snapshots": found[:SNAPSHOTS], "more_snapshots": len(found) > SNAPSHOTS}


PANELS: Panels = {
    "remote": Panel(context=remote, tells=True, row=for_part),
    "rows": rows_panel(NUMBERS.counts_of),
    "snapshots": Panel(context=snapshots),
}
