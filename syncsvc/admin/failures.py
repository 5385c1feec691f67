"""What failed: by cause, each with its retry, and one by one; what is retried changes where it stands."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from syncsvc.admin import failing
from syncsvc.admin.buttons import Button
from syncsvc.admin.confirm import Question, confirm
from syncsvc.admin.parts import part_of, render_page, sees
from syncsvc.admin.status import RETRY
from syncsvc.models import Operation, Status, Subscription
from syncsvc.operations.scope import Scope
from syncsvc.types import ErrorKind

TEMPLATE = "admin/syncsvc/failures.html"
MOVING_SECONDS, RESTING_SECONDS = 2, 15
RETRY_ALL = Button(
    "retry_all",
    "Retry all failed",
    "Send what is missing of every failed subscription",
    confirms="ask",
    tone="main",
    failed="Failed to start bulk retry",
)
RETRY_CAUSE = RETRY_ALL._replace(
    press="retry_cause", label="Retry this cause", title="Send what is missing of all that failed so", tone=""
)


def failures(request: HttpRequest) -> HttpResponse:
    if not sees(request, Subscription):
        raise PermissionDenied
    part = part_of(request)
    context: dict[str, Any] = {"title": "Failures"}
    if part != "list":
        context |= _causes(request)
    if part != "causes":
        shown = request.GET.get("v")
        context |= _list(request)
        if part and shown == context["version"]:
            return HttpResponse(status=204)  # htmx leaves what stands there
    if not part:
        context |= _filter_form(context["known"], context["filters"])
    return render_page(request, TEMPLATE, context)


def retry_failures(request: HttpRequest, kind: str = "", host: str = "") -> HttpResponse:
    """Asks, and starts, a retry of everything, or of one cause."""
    if kind and kind not in ErrorKind:
        raise Http404
    scope = Scope(
        kind=Operation.Kind.RETRY,
        error_kind=ErrorKind(kind) if kind else None,
        host=None if not kind else "" if host == failing.NO_HOST else host,
    )
    failing.forget_numbers()
    return confirm(request, Question(scope=scope, back=reverse("admin:failures"), back_title="Failures", here=True))


def _causes(request: HttpRequest) -> dict[str, Any]:
    known = failing.numbers()
    sees_bars = request.user.has_perm("syncsvc.view_operation")
    found = failing.causes(known, bars=sees_bars)
    bars = failing.bars_of_all(known) if sees_bars else []
    may = request.user.has_perm("syncsvc.bulk_retry")
    for cause in found:
        running = any(not bar["ended"] for bar in cause["bars"])
        if may and cause["failed"] and cause["error_kind"] and not running:
            cause["button"] = {**RETRY_CAUSE._asdict(), "url": cause["retry_url"]}
    retry_all = {**RETRY_ALL._asdict(), "url": reverse("admin:failures_retry")}
    all_runs = any(not bar["ended"] for bar in bars)
    moves = bars or any(cause["bars"] for cause in found)
    return {
        "known": known,
        "counts": known["counts"],
        "causes": found,
        "more_causes": known["counts"]["causes"] - len(known["causes"]),
        "bars": bars,
        "retry_all": retry_all if may and known["counts"]["failed"] and not all_runs else None,
        "every": MOVING_SECONDS if moves else RESTING_SECONDS,
    }


def _list(request: HttpRequest) -> dict[str, Any]:
    query = request.GET.copy()
    kept, following, _ = (query.pop(name, [""])[-1] for name in ("kept", "next", "v"))
    request.GET = query  # type: ignore[assignment] # what the part asks with next does not have them twice
    filters = failing.Filters.of(query)
    found = failing.listed(filters, after=query.get("after", ""), kept=failing.ids_of(kept), following=following)
    may = request.user.has_perm(f"syncsvc.{RETRY.permission}")
    for row in found.rows:
        row.button = _retry(row) if may and _is_retriable(row) else None  # type: ignore[attr-defined]
    every = MOVING_SECONDS if failing.may_be_repaired() or any(_moves(row) for row in found.rows) else RESTING_SECONDS
    here = {name: str(value) for name, value in query.items() if name not in ("part", "after")}
    return {
        "filters": filters,
        "listed": found,
        "after": query.get("after", ""),
        "first_page": f"?{urlencode(here)}#list",
        "next_page": found.next and f"?{urlencode({**here, 'after': found.next})}#list",
        "list_every": every,
        "version": found.version(every),
    }


def _retry(row: Subscription) -> dict[str, Any]:
    return {**RETRY._asdict(), "url": reverse("admin:syncsvc_subscription_retry", args=[row.pk])}


def _is_retriable(row: Subscription) -> bool:
    return not row.paused and (row.status == Status.FAILED or row.is_retrying)


def _moves(row: Subscription) -> bool:
    """It runs, or is about to."""
    due = row.due_at is not None and row.due_at <= timezone.now()
    return row.status == Status.SYNCING or (row.status == Status.PENDING and due and not row.paused)


def _filter_form(known: dict[str, Any], filters: failing.Filters) -> dict[str, Any]:
    def options(rows: list[dict[str, Any]], chosen: object) -> list[dict[str, Any]]:
        return [{**row, "chosen": row["id"] == str(chosen)} for row in rows]

    return {
        "cause_options": [cause["error_kind"] + "@" + cause["host"] for cause in known["causes"]],
        "app_options": options(known["apps"], filters.app),
        "repository_options": options(known["repositories"], filters.repository),
    }
