"""The subscriptions on the page of their app or their repository: status in place, how far each is, what is pending."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse

from syncsvc.admin.panels import Panel
from syncsvc.admin.parts import sees
from syncsvc.models import App, Repository, Status, Subscription
from syncsvc.models.status import AWAITS_FIRST_COMMIT, RETRYING, THROTTLED
from syncsvc.statistics.pages import Standing, standings
from syncsvc.words import counted

PAGE = 25  # a row with its buttons is a millisecond of Python
# (name in the address, word, name of its count); in the order in which they matter.
STATES = (
    ("", "All", "total"),
    ("failed", "Failed", "failed"),
    ("retrying", "Retrying", "retrying"),
    ("throttled", "Throttled", "throttled"),
    ("syncing", "Syncing", "syncing"),
    ("pending", "Pending", "pending"),
    ("synced", "Synced", "synced"),
    ("empty", "Waiting for a first commit", "empty"),
    ("paused", "Paused", "paused"),
)
CONDITIONS = {
    "failed": Q(status=Status.FAILED),
    "retrying": RETRYING,
    "syncing": Q(status=Status.SYNCING),
    "throttled": THROTTLED,
    "pending": Q(status=Status.PENDING) & ~RETRYING & ~THROTTLED,
    "synced": Q(status=Status.SYNCED) & ~AWAITS_FIRST_COMMIT,
    "empty": AWAITS_FIRST_COMMIT,
    "paused": Q(is_active=False),
}
WORST_FIRST = Case(
    When(status=Status.FAILED, then=Value(0)),
    When(RETRYING, then=Value(1)),
    When(THROTTLED, then=Value(2)),
    When(status=Status.SYNCING, then=Value(3)),
    When(status=Status.PENDING, then=Value(4)),
    default=Value(5),
    output_field=IntegerField(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`name` is that of the other side; `pending` is in words, `exact` where it is a number that holds."""

    subscription: Subscription
    url: str
    name: str
    behind: str
    pending: str
    exact: bool


def rows_panel(counts_of: Callable[[Any], Mapping[str, Any]]) -> Panel:
    """The panel of the subscriptions of one app or repository; `counts_of` gives their number by state."""

    def context(request: HttpRequest, owner: App | Repository) -> dict[str, Any]:
        if not sees(request, Subscription):
            return {"may_see_rows": False}
        return {"may_see_rows": True, **rows_context(request, owner, counts_of(owner))}

    return Panel(context=context)


def rows_context(request: HttpRequest, owner: App | Repository, counts: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the subscriptions, the worst first, filtered by the state and the part of a name in the address."""
    state, search = request.GET.get("state", ""), request.GET.get("q", "").strip()[:200]
    state, page = state if state in CONDITIONS else "", _page(request)
    found = _of(owner)
    if state:
        found = found.filter(CONDITIONS[state])
    other = "repository" if isinstance(owner, App) else "app"
    if search:
        found = found.filter(**{f"{other}__name__icontains": search})
    found = found.order_by(WORST_FIRST, f"{other}__name")[(page - 1) * PAGE : page * PAGE + 1]
    shown = list(found)
    known = standings([row.pk for row in shown[:PAGE]]) if shown else {}
    return {
        "rows": [_row(row, known.get(row.pk), getattr(row, other).name) for row in shown[:PAGE]],
        "other": other,
        "counts": counts,
        "states": [
            {"name": name, "word": word, "count": counts[count], "current": name == state}
            for name, word, count in STATES
            if counts[count] or name in ("", state)
        ],
        "state": state,
        "search": search,
        "page": page,
        "previous": page - 1,
        "next": page + 1 if len(shown) > PAGE else 0,
    }


def _of(owner: App | Repository) -> QuerySet[Subscription]:
    return owner.subscriptions.select_related("app", "repository", "snapshot")


def _page(request: HttpRequest) -> int:
    text = request.GET.get("p", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 5 else 1


def _row(subscription: Subscription, standing: Standing | None, name: str) -> Row:
    text, exact = pending_text(subscription, standing) if standing else ("", False)
    return Row(
        subscription=subscription,
        url=_page_of(subscription.pk),
        name=name,
        behind=behind_text(subscription, standing) if standing else "",
        pending=text,
        exact=exact,
    )


def _page_of(subscription_id: uuid.UUID) -> str:
    return reverse("admin:syncsvc_subscription_change", args=[subscription_id])


def behind_text(subscription: Subscription, standing: Standing) -> str:
    """`up to date`, `2 commits behind`; blank where nothing is known."""
    if subscription.snapshot is None or standing.at_head is None:
        return ""
    if standing.at_head:
        return "up to date"
    if standing.behind:
        return f"{counted(standing.behind, 'commit')} behind"
    return "behind"


def pending_text(subscription: Subscription, standing: Standing) -> tuple[str, bool]:
    """How many files it still has to be sent, and whether that is a number that holds; blank where nothing is known."""
    if subscription.awaits_first_commit or (subscription.status == Status.SYNCED and standing.at_head):
        return "0", True
    runs = subscription.status == Status.SYNCING  # and has delivered some of them
    if standing.left is not None:
        left = f"{max(0, standing.left):,}"
        return (f"up to {left}", False) if runs else (left, True)
    if subscription.snapshot is None or standing.sends_all:
        if standing.files is None:
            return "all", False
        return (f"up to {standing.files:,}", False) if runs else (f"all {standing.files:,}", True)
    if standing.behind and standing.changes is not None:
        # A file that two commits changed is sent once.
        return f"{standing.changes:,}" if standing.behind == 1 else f"up to {standing.changes:,}", standing.behind == 1
    return "", False
