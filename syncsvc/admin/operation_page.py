"""The panels of an operation's page: how far it is, why some failed, and what came of each subscription in it."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from syncsvc.admin import kept
from syncsvc.admin.operation_bar import bar, bar_of, followed_bar, told_of_end
from syncsvc.admin.panels import Panel, Panels, shared
from syncsvc.admin.parts import ROWS_SECONDS, render_part
from syncsvc.admin.tones import OF_ITEM, tone_of_operation
from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem
from syncsvc.operations.items import Page, items_after
from syncsvc.operations.progress import errors_by_kind
from syncsvc.operations.waits import item_waits, waits_of
from syncsvc.types import ErrorKind

TEMPLATE = "admin/syncsvc/operation.html"
PAGE = 50


@dataclass(frozen=True, slots=True)
class Filters:
    """The items that the address asks for; a wrong value in it counts as none."""

    outcome: str
    kind: str
    after: str

    @classmethod
    def of(cls, request: HttpRequest) -> "Filters":
        outcome, kind, after = (request.GET.get(name, "") for name in ("outcome", "kind", "after"))
        return cls(
            outcome if outcome in OperationItem.Status.values else "",
            kind if kind in ErrorKind else "",
            after if after.isascii() and after.isdigit() and len(after) <= 18 else "",
        )


def progress_context(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    """The counts, from Redis as in every bar; from the row where the operation has ended or Redis is away."""
    shown = (None if operation.ended else bar(operation.pk)) or bar_of(operation)
    counts = shown["operation"]
    return {
        **shown,
        "tone": tone_of_operation(counts["status"], counts["failed"]),
        "reason": operation.reason if counts["status"] == operation.status else "",
    }


def progress_part(request: HttpRequest, operation: Operation) -> HttpResponse:
    """The counts alone. At the end: status 286, a toast, and `changed`, which shows buttons and items as they ended."""
    context = progress_context(request, operation)
    response = render_part(
        request, f"{TEMPLATE}#progress", {"original": operation, **context}, finished=context["ended"]
    )
    # This part listens to `changed` as well: it is gone after the swap.
    return told_of_end(request, response, context, after="swap")


def items_html(request: HttpRequest, operation: Operation) -> str:
    """The items as HTML, which one tab's request renders for all tabs for as long as the operation goes on."""
    filters = Filters.of(request)

    def render() -> str:
        return render_to_string(f"{TEMPLATE}#items", _items_context(operation, filters))

    if operation.ended:
        return render()
    name = f"operation-items:{operation.pk}:{filters.outcome}:{filters.kind}:{filters.after}"
    return kept.kept(name, render)


def _items_context(operation: Operation, filters: Filters) -> dict[str, Any]:
    page = _page(operation, filters)
    waits = item_waits(operation, page.items)
    chosen = {"outcome": filters.outcome, "kind": filters.kind}
    query = "".join(f"&{name}={value}" for name, value in chosen.items() if value)
    statuses = [("", "All", operation.total)]
    statuses += [(s.value, s.label.capitalize(), getattr(operation, s.value)) for s in OperationItem.Status]
    return {
        "original": operation,
        "errors": errors_by_kind(operation.pk) if operation.failed else [],
        "waits": waits_of(operation),
        "items": [(item, OF_ITEM[item.status], waits.get(item.pk, item.reason)) for item in page.items],
        "chips": [(name, word, n, name == filters.outcome) for name, word, n in statuses if n or name in ("", *chosen)],
        "filters": filters,
        "query": query,
        "next": page.next,
        "asked": {**chosen, "after": filters.after},
        "version": kept.VERSION,
        "every": None if operation.ended else ROWS_SECONDS,
    }


def _page(operation: Operation, filters: Filters) -> Page:
    try:
        return items_after(
            operation.pk, filters.after or None, size=PAGE, status=filters.outcome, error_kind=filters.kind
        )
    except Refused:
        return Page([], None)


PANELS: Panels = {
    "progress": Panel(context=progress_context, answer=progress_part),
    "items": shared("items", items_html),
    "bar": Panel(answer=lambda request, operation: followed_bar(request, operation.pk)),
}
