"""The first page: what is wrong, whose, why and where to go; then what runs now, and how the last day was."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from syncsvc.admin import kept
from syncsvc.admin.alarms import alarms, failures_url, is_polled
from syncsvc.admin.arrival import rest_text
from syncsvc.admin.chart import chart
from syncsvc.admin.moments import with_moments
from syncsvc.admin.operation_bar import bar
from syncsvc.admin.panels import Panels, answer_page, shared
from syncsvc.admin.parts import sees
from syncsvc.models import Operation, Subscription
from syncsvc.statistics.overview import overview_numbers
from syncsvc.sync.circuit import GONE
from syncsvc.sync.health import Alive, alive

TEMPLATE = "admin/syncsvc/overview.html"
# Those that see operations, and those that do not.
NAMES = ("overview", "overview-without-operations")


def overview(request: HttpRequest) -> HttpResponse:
    """Every operator may open it; numbers are for those who may see subscriptions."""
    may = sees(request, Subscription)
    return answer_page(request, TEMPLATE, PANELS if may else {}, lambda _: {"title": "Overview", "may": may})


def _now(request: HttpRequest, row: None) -> str:
    operations = sees(request, Operation)
    return kept.kept(NAMES[0] if operations else NAMES[1], lambda: _render(operations=operations))


def _render(*, operations: bool) -> str:
    numbers, seen = with_moments(overview_numbers(gone=GONE)), alive()
    return render_to_string(f"{TEMPLATE}#now", _context(numbers, seen, operations=operations))


def _context(numbers: dict[str, Any], seen: Alive | None, *, operations: bool) -> dict[str, Any]:
    counts = numbers["counts"]
    shown = [bar(row["id"]) for row in numbers["operations"]] if operations else []
    moves = bool(counts["syncing"] or counts["due"] or counts["operations"])
    for cause in numbers["causes"]:
        cause["url"] = failures_url(cause=f"{cause['error_kind']}@{cause['host']}")
    for app in numbers["apps"]:
        app["url"] = failures_url(app=app["id"])
    return {
        **numbers,
        "version": kept.VERSION,
        "moves": moves and seen is not None,
        "alarms": alarms(numbers, seen) if counts["total"] else [],
        "rest": rest_text(counts),
        "alive": seen,
        "stale": numbers["stale"] if is_polled(seen) else [],
        "bars": [{**context, "still": True} for context in shown if context],
        "steps": _steps(counts),
        "failures": failures_url(),
        "queue": reverse("admin:queue"),
    }


PANELS: Panels = {"now": shared("now", _now), "chart": shared("chart", lambda request, row: chart())}


def _steps(counts: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes first in a new installation; nothing once all is done."""
    steps = [
        ("Add an app", "the endpoint that is told of changes", "syncsvc_app_add", counts["apps"]),
        ("Add a repository", "the git remote that is watched", "syncsvc_repository_add", counts["repositories"]),
        (
            "Subscribe the app to the repository",
            "the first sync begins at once",
            "syncsvc_subscription_add",
            counts["total"],
        ),
        ("Watch the first sync arrive", "its run stands in the queue, then under Runs", "queue", counts["success_at"]),
    ]
    if all(done for *_, done in steps):
        return []
    return [{"title": t, "what": w, "url": reverse(f"admin:{name}"), "done": bool(d)} for t, w, name, d in steps]
