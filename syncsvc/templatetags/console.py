"""Tags and filters of the console's templates: live parts, badges, moments, a subscription's status and buttons."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.http import HttpRequest, QueryDict
from django.template.context import Context, RequestContext
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc import words
from syncsvc.admin import cells
from syncsvc.admin.buttons import Button
from syncsvc.admin.operation_bar import Bar
from syncsvc.admin.parts import PART, VERSION, page_query, period
from syncsvc.admin.status import RESYNC, RETRY, has_something_to_retry, status_context
from syncsvc.models import Subscription, Trigger

register = template.Library()
register.filter("moment", cells.moment)
register.filter("clock", cells.clock)
register.filter("size", cells.size_cell)
register.filter("path", cells.path_cell)
register.filter("kind", cells.kind_cell)
register.filter("commit", cells.commit_cell)
register.filter("block", cells.block)
register.filter("count", cells.count)
register.filter("counted", words.counted)
register.filter("duration", words.exact_span)
register.simple_tag(cells.badge, name="badge")
register.simple_tag(cells.link, name="link_to")


@register.filter
def trigger(value: str) -> str:
    """What asked for a run, in words: `re-sync`, `back-off`."""
    return str(Trigger(value).label).lower() if value in Trigger.values else value


@register.filter
def sentence(text: str) -> str:
    """With a full stop, so that another sentence may follow."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@register.simple_tag(takes_context=True)
def live(
    context: Context,
    part: str,
    *,
    moves: bool | None = None,
    every: int | None = None,
    version: str = "",
    on: str = "",
    wait: str = "",
    page: str = "",
    query: Mapping[str, str] | None = None,
) -> SafeString:
    """Attributes that make an element a live part: it requests itself while the page is open, and on the events `on`.

    It is polled in the period of `moves`, or every `every` seconds; without either it is not polled. `version` is the
    version it shows. `wait`, such as `200ms`, delays the swap. `page` and `query` are the address to request, where it
    is not this page's: a part that is rendered for all tabs knows no request.
    """
    request: HttpRequest | None = getattr(context, "request", None)
    asked = QueryDict(mutable=True)
    if request is not None and not page:
        page, asked = request.path, page_query(request)
    for name, value in {**(query or {}), PART: part, VERSION: version}.items():
        if value:
            asked[name] = value
    triggers = ", ".join(["poll", *(f"{event} from:body" for event in on.split())])
    seconds = every if moves is None else period(moves=moves)
    return format_html(
        ' hx-get="{}" hx-trigger="{}" hx-target="this" hx-swap="outerHTML{}"{}',
        f"{page}?{asked.urlencode()}",
        triggers,
        f" swap:{wait}" if wait else "",
        format_html(' data-every="{}"', seconds) if seconds else "",
    )


@register.inclusion_tag("admin/syncsvc/_operation_bar.html")
def operation_bar(bar: Bar) -> Bar:
    """The bar of an operation, which requests its own progress."""
    return bar


@register.inclusion_tag("admin/syncsvc/_subscription_status.html")
def subscription_status(subscription: Subscription) -> dict[str, Any]:
    """Its badge, which changes in place after a retry or a re-sync on the same page."""
    return status_context(subscription)


@register.inclusion_tag("admin/syncsvc/_subscription_buttons.html", takes_context=True)
def subscription_buttons(context: RequestContext, subscription: Subscription) -> dict[str, Any]:
    """Retry, where something failed, and Re-sync: of what the user may; none while it is paused, which refuses both."""
    offered = [RETRY, RESYNC] if has_something_to_retry(subscription) else [RESYNC]
    if subscription.paused:
        offered = []
    may = context.request.user.has_perm
    return {
        "csrf_token": context.get("csrf_token"),
        "buttons": [_shown(button, subscription) for button in offered if may(f"syncsvc.{button.permission}")],
    }


def _shown(button: Button, subscription: Subscription) -> dict[str, Any]:
    return {**button._asdict(), "url": reverse(f"admin:syncsvc_subscription_{button.press}", args=[subscription.pk])}
