"""What the page of a run shows: how it went, where it belongs, and the requests it made."""

from typing import Any

from django.http import HttpRequest
from django.utils.http import urlencode

from syncsvc.admin.panels import Panel, Panels
from syncsvc.admin.subscription_page import answer_start
from syncsvc.models import DeliveryAttempt, OperationItem, Snapshot, SyncRun
from syncsvc.words import pace_text

ATTEMPTS = 30


def facts(request: HttpRequest, run: SyncRun) -> dict[str, Any]:
    """No query."""
    planned = run.created + run.updated + run.deleted
    seconds = run.seconds
    return {
        "version": run.outcome or "running",
        "planned": planned,
        "missing": max(planned - run.delivered, 0) if run.outcome else 0,
        "pace_text": pace_text(run.delivered / seconds, "file") if seconds and run.delivered else "",
    }


def places(request: HttpRequest, run: SyncRun) -> dict[str, Any]:
    """The snapshots it went from and to, the operation it was for, and its neighbours in time."""
    commits = {run.from_commit, run.to_commit} - {""}
    repository = run.subscription.repository_id
    snapshots = {row.commit: row for row in Snapshot.objects.filter(repository=repository, commit__in=commits)}
    siblings = SyncRun.objects.filter(subscription=run.subscription_id).only("id", "started_at", "outcome")
    items = OperationItem.objects.filter(subscription=run.subscription_id, run_id=run.pk).select_related("operation")
    return {
        "from_snapshot": snapshots.get(run.from_commit),
        "to_snapshot": snapshots.get(run.to_commit),
        "item": items.first(),
        "before": siblings.filter(started_at__lt=run.started_at).order_by("-started_at").first(),
        "next": siblings.filter(started_at__gt=run.started_at).order_by("started_at").first(),
    }


def attempts(request: HttpRequest, run: SyncRun) -> dict[str, Any]:
    """Newest first, a page by keyset; `only=failed` leaves those that were not taken."""
    only_failed = request.GET.get("only") == "failed"
    found = DeliveryAttempt.objects.filter(run=run).order_by("-id")
    if only_failed:
        found = found.exclude(error_kind="")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit():
        found = found.filter(id__lt=int(before[:18]))
    page = list(found[: ATTEMPTS + 1])
    shown = page[:ATTEMPTS]
    query = {"only": "failed"} if only_failed else {}
    older = len(page) > ATTEMPTS
    return {
        "attempts": [(attempt, answer_start(attempt.answer)) for attempt in shown],
        "only_failed": only_failed,
        "newest": f"?{urlencode(query)}#attempts" if before else "",
        "older": older and f"?{urlencode({**query, 'before': str(shown[-1].pk)})}#attempts",
    }


PANELS: Panels = {
    "facts": Panel(context=facts, tells=True),
    "places": Panel(context=places),
    "attempts": Panel(context=attempts),
}
