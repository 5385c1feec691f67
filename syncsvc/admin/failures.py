"""What failed: by cause, each with its retry, and one by one; what is retried changes where it stands."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from syncsvc.admin import failing
from syncsvc.admin.arrival import tries_again_text
from syncsvc.admin.buttons import Button
from syncsvc.admin.confirm import Question, confirm
from syncsvc.admin.panels import Panel, Panels, answer_page
from syncsvc.admin.parts import page_query, sees
from syncsvc.admin.status import RETRY, has_something_to_retry, moves
from syncsvc.models import Operation, Subscription
from syncsvc.operations.scope import Scope
from syncsvc.types import ErrorKind

TEMPLATE = "admin/syncsvc/failures.html"
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
    return answer_page(
        request, TEMPLATE, PANELS, lambda shown: {"title": "Failures", **_filter_form(shown["known"], shown["filters"])}
    )


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


def _causes(request: HttpRequest, page: None) -> dict[str, Any]:
    known = failing.numbers()
    sees_bars = request.user.has_perm("syncsvc.view_operation")
    found = failing.causes(known, bars=sees_bars)
    bars = failing.bars_of_all(known) if sees_bars else []
    may = request.user.has_perm("syncsvc.bulk_retry")
    for cause in found:
        cause["tries_again"] = tries_again_text(cause)
        running = any(not bar["ended"] for bar in cause["bars"])
        if may and cause["failed"] and cause["error_kind"] and not running:
            cause["button"] = {**RETRY_CAUSE._asdict(), "url": cause["retry_url"]}
    retry_all = {**RETRY_ALL._asdict(), "url": reverse("admin:failures_retry")}
    all_runs = any(not bar["ended"] for bar in bars)
    return {
        "known": known,
        "counts": known["counts"],
        "causes": found,
        "more_causes": known["counts"]["causes"] - len(known["causes"]),
        "bars": bars,
        "retry_all": retry_all if may and known["counts"]["failed"] and not all_runs else None,
        "moves": bool(
            bars
            or known["counts"]["moving"]
            or known["counts"]["failing_runs"]
            or any(cause["bars"] for cause in found)
        ),
    }


def _list(request: HttpRequest, page: None) -> dict[str, Any]:
    query = page_query(request)
    kept, following = request.GET.get("kept", ""), request.GET.get("next", "")
    filters = failing.Filters.of(query)
    found = failing.listed(filters, after=query.get("after", ""), kept=failing.ids_of(kept), following=following)
    may = request.user.has_perm(f"syncsvc.{RETRY.permission}")
    for row in found.rows:
        row.button = _retry(row) if may and not row.paused and has_something_to_retry(row) else None  # type: ignore[attr-defined]
    some_move = failing.may_be_repaired() or any(moves(row) for row in found.rows)
    here = {name: str(value) for name, value in query.items() if name != "after"}
    return {
        "filters": filters,
        "listed": found,
        "after": query.get("after", ""),
        "first_page": f"?{urlencode(here)}#list",
        "next_page": found.next and f"?{urlencode({**here, 'after': found.next})}#list",
        "list_moves": some_move,
        "version": found.version(moves=some_move),
    }


PANELS: Panels = {"causes": Panel(context=_causes), "list": Panel(context=_list, stays=True)}


def _retry(row: Subscription) -> dict[str, Any]:
    return {**RETRY._asdict(), "url": reverse("admin:syncsvc_subscription_retry", args=[row.pk])}


def _filter_form(known: dict[str, Any], filters: failing.Filters) -> dict[str, Any]:
    def options(rows: list[dict[str, Any]], chosen: object) -> list[dict[str, Any]]:
        return [{**row, "chosen": row["id"] == str(chosen)} for row in rows]

    return {
        "cause_options": [cause["error_kind"] + "@" + cause["host"] for cause in known["causes"]],
        "app_options": options(known["apps"], filters.app),
        "repository_options": options(known["repositories"], filters.repository),
    }
