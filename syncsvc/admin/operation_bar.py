"""An operation's bar: how far it is, on any page, in place of the button that started it."""

import uuid
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django_htmx.http import trigger_client_event

from syncsvc.admin.answers import with_toasts
from syncsvc.admin.parts import render_part
from syncsvc.models import Operation
from syncsvc.operations.progress import FIELDS, progress
from syncsvc.words import left

TEMPLATE = "admin/syncsvc/_operation_bar.html"
OUTCOMES = ("succeeded", "failed", "skipped", "cancelled")
# For so long an ended one still stands where its button is.
LINGERS = timedelta(minutes=1)


def bar(operation_id: uuid.UUID) -> dict[str, Any] | None:
    """The context of the bar, without a query where Redis has the counts; None where there is no such operation."""
    counts = progress(operation_id)
    return None if counts is None else shown_bar(operation_id, counts)


def bar_of(operation: Operation) -> dict[str, Any]:
    """The same from a row that has just been read; the pace comes when the bar asks for itself."""
    counts = {name: getattr(operation, name) for name in (*FIELDS, "completed")}
    return shown_bar(operation.pk, counts)


def shown_bar(operation_id: uuid.UUID, counts: dict[str, Any]) -> dict[str, Any]:
    named = [(counts[name], name) for name in OUTCOMES if counts[name]]
    return {
        "operation": counts,
        "id": operation_id,
        "name": bulk_name(counts["kind"]),
        "ended": counts["status"] in Operation.ENDED,
        "outcomes": named,
        "summary": summary(counts),
        "left": left(counts.get("seconds_left")),
    }


def summary(counts: dict[str, Any]) -> str:
    """`Bulk retry complete: 20 succeeded, 3 failed`."""
    how = "cancelled" if counts["status"] == Operation.Status.CANCELLED else "complete"
    told = [f"{counts[name]:,} {name}" for name in OUTCOMES if counts[name] or name in ("succeeded", "failed")]
    return f"{bulk_name(counts['kind'])} {how}: {', '.join(told)}"


def bulk_name(kind: str) -> str:
    """`Bulk retry`, `Bulk re-sync`."""
    return f"Bulk {Operation.Kind(kind).label.lower()}"


def bars_for(request: HttpRequest, **scope: uuid.UUID | str) -> list[dict[str, Any]]:
    """Bars of the operations over this scope that go on, or have just ended; none for who may not see operations."""
    if not request.user.has_perm("syncsvc.view_operation"):
        return []
    about = {f"scope__{name}": str(value) for name, value in scope.items()}
    lately = Q(created_at__gte=Now() - timedelta(days=1), finished_at__gte=Now() - LINGERS)
    found = Operation.objects.filter(Q(finished_at=None) | lately, **about).order_by("created_at")
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
    if not shown["ended"]:
        return response
    level = messages.WARNING if shown["operation"]["failed"] else messages.SUCCESS
    messages.add_message(request, level, shown["summary"])
    trigger_client_event(response, "changed")
    return with_toasts(request, response)
