"""What the console's templates say in a word: live parts, badges, moments, a subscription's status and buttons."""

from typing import Any

from django import template
from django.template.context import RequestContext
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin import cells
from syncsvc.admin.buttons import Button
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
register.simple_tag(cells.badge, name="badge")
register.simple_tag(cells.link, name="link_to")


@register.filter
def number(value: int) -> str:
    """`4,512`."""
    return f"{value:,}"


@register.filter
def trigger(value: str) -> str:
    """What asked for a run, in words: `re-sync`, `back-off`."""
    return str(Trigger(value).label).lower() if value in Trigger.values else value


@register.filter
def duration(seconds: int) -> str:
    """`90 s`, `15 min`, `6 h`: in the largest unit that leaves no rest."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds:,} s"


@register.filter
def sentence(text: str) -> str:
    """With a full stop, so that another sentence may follow."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@register.simple_tag(takes_context=True)
def live(
    context: RequestContext, part: str, *, every: int | None = None, on: str = "", wait: str = "", address: str = ""
) -> SafeString:
    """Attributes of the element that is the part: asked for anew every so many seconds, and on these events.

    It keeps the page's own query. Without `every` it does not poll: a part says so itself when nothing moves any more.
    `wait`, as `200ms`, leaves what is there for so long. `address` takes the place of the page's own.
    """
    if not address:
        query = context.request.GET.copy()
        query["part"] = part
        address = f"{context.request.path}?{query.urlencode()}"
    triggers = ", ".join(["poll", *(f"{event} from:body" for event in on.split())])
    polls = format_html(' data-every="{}"', every) if every else ""
    return format_html(
        ' hx-get="{}" hx-trigger="{}" hx-target="this" hx-swap="outerHTML{}"{}',
        address,
        triggers,
        f" swap:{wait}" if wait else "",
        polls,
    )


@register.inclusion_tag("admin/syncsvc/_operation_bar.html")
def operation_bar(bar: dict[str, Any]) -> dict[str, Any]:
    """One of those that `bars_for` gives; it follows its operation by itself."""
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
