"""An operation's bar: how far it is, on any page, in place of the button that started it."""

import uuid
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django_htmx.http import trigger_client_event

from syncsvc.admin.answers import with_toasts
from syncsvc.admin.parts import render_part
from syncsvc.models import Operation
from syncsvc.models.operation import Outcome
from syncsvc.operations.progress import Progress, progress, progress_of
from syncsvc.operations.summary import bulk_name, completed_text, has_ended, outcomes, summary
from syncsvc.statistics.shown import is_shown
from syncsvc.words import left

TEMPLATE = "admin/syncsvc/_operation_bar.html"


class Bar(TypedDict):
    """The context of a bar. `page` is the operation's, `event` one that makes the bar request itself at once.

    `completed` and `left` are in words: how far it is, and how much longer it takes; blank where nobody knows.
    """

    operation: Progress
    page: str
    event: str
    name: str
    ended: bool
    outcomes: list[tuple[int, Outcome]]
    completed: str
    summary: str
    left: str


def bar(operation_id: uuid.UUID) -> Bar | None:
    """The bar, without a query where Redis has the counts; None where there is no such operation."""
    shown = progress(operation_id)
    return None if shown is None else _bar(operation_id, shown)


def bar_of(operation: Operation) -> Bar:
    """The bar of a row that has just been read, without its pace: the bar's own first request adds that."""
    return _bar(operation.pk, progress_of(operation))


def _bar(operation_id: uuid.UUID, shown: Progress) -> Bar:
    return {
        "operation": shown,
        "page": reverse("admin:syncsvc_operation_change", args=[operation_id]),
        "event": f"changed-{operation_id}",
        "name": bulk_name(shown["kind"]),
        "ended": has_ended(shown),
        "outcomes": outcomes(shown),
        "completed": completed_text(shown),
        "summary": summary(shown),
        # Nothing more begins where it is paused or cancelled: what was reckoned of it holds no longer.
        "left": left(shown["seconds_left"]) if shown["status"] == Operation.Status.RUNNING else "",
    }


def bars_for(request: HttpRequest, **scope: uuid.UUID | str) -> list[Bar]:
    """Bars of the operations over this scope that go on, or have just ended; none for who may not see operations."""
    if not request.user.has_perm("syncsvc.view_operation"):
        return []
    about = {f"scope__{name}": str(value) for name, value in scope.items()}
    found = Operation.objects.filter(is_shown(), **about).order_by("created_at")
    return [shown for id in found.values_list("id", flat=True) if (shown := bar(id))]


def bar_html(operation_id: uuid.UUID, **more: Any) -> str:
    shown = bar(operation_id)
    return render_to_string(TEMPLATE, {**shown, **more}) if shown else ""


def started_bar(operation_id: uuid.UUID) -> str:
    """Goes out of band to the head of the page, where no button gives it a place."""
    return bar_html(operation_id, started=True)


def followed_bar(request: HttpRequest, operation_id: uuid.UUID) -> HttpResponse:
    """The answer to a bar that asks how it goes on: at the end 286, the summary as a toast, and `changed`."""
    shown = bar(operation_id)
    if shown is None:
        return HttpResponse(status=404)
    response = render_part(request, TEMPLATE, shown, finished=shown["ended"])
    return told_of_end(request, response, shown)


def told_of_end(
    request: HttpRequest,
    response: HttpResponse,
    shown: Mapping[str, Any],
    *,
    after: Literal["receive", "swap"] = "receive",
) -> HttpResponse:
    """Adds the summary of an operation that has ended, as a toast, and the event `changed`, after this step of htmx."""
    if not shown["ended"]:
        return response
    level = messages.WARNING if shown["operation"]["failed"] else messages.SUCCESS
    messages.add_message(request, level, shown["summary"])
    trigger_client_event(response, "changed", after=after)
    return with_toasts(request, response)
