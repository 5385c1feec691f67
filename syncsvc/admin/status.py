"""A subscription's status as a badge, the same in every list and page, and alone where it changes in place."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from syncsvc.admin.buttons import Button
from syncsvc.admin.parts import render_part, sees
from syncsvc.admin.tones import state_of
from syncsvc.ids import uuid_of
from syncsvc.models import Status, Subscription

TEMPLATE = "admin/syncsvc/_subscription_status.html"
SHOWN_AT_ONCE = 500
RETRY = Button(
    "retry",
    "Retry",
    "Run it now, as if it had never failed",
    "retry_subscription",
    in_place=True,
    failed="Failed to queue retry",
)
RESYNC = Button(
    "resync",
    "Re-sync",
    "Send every file again, as if the app had none",
    "resync_subscription",
    confirms="ask_resync",
    in_place=True,
    failed="Failed to queue re-sync",
)


def moves(subscription: Subscription) -> bool:
    """True where the subscription runs, or is due."""
    if subscription.status == Status.SYNCING:
        return True
    due = (runs_at := subscription.runs_at) is not None and runs_at <= timezone.now()
    return subscription.status == Status.PENDING and not subscription.paused and due


def has_something_to_retry(subscription: Subscription) -> bool:
    """True where the subscription failed, waits for another try, or was stopped; and does not run now."""
    if subscription.status != Status.PENDING:
        return subscription.status == Status.FAILED
    return bool(subscription.last_error) or subscription.is_retrying or subscription.is_throttled


def status_context(subscription: Subscription, *, follow: bool = False, swap: bool = False) -> dict[str, Any]:
    """`follow`: it asks how it goes on until that run ends; `swap`: it takes the place of each one on the page."""
    word, tone = state_of(subscription)
    until = subscription.runs_at if subscription.is_throttled else None
    will_change = subscription.status in (Status.PENDING, Status.SYNCING)
    return {
        "subscription": subscription,
        "word": word,
        "tone": tone,
        "until": until if until and until > timezone.now() else None,
        "follow": follow and will_change and not subscription.paused,
        "page": reverse("admin:syncsvc_subscription_change", args=[subscription.pk]) if follow else "",
        "swap": swap,
    }


def status_cell(subscription: Subscription) -> SafeString:
    return render_to_string(TEMPLATE, status_context(subscription))


def followed_status(request: HttpRequest, subscription: Subscription) -> HttpResponse:
    """The answer to a badge that asks how it goes on; 286 at the end."""
    context = status_context(subscription, follow=True)
    return render_part(request, TEMPLATE, context, finished=not context["follow"])


def statuses(request: HttpRequest) -> HttpResponse:
    """How the subscriptions that a page shows are now: each badge goes out of band to its place."""
    if not sees(request, Subscription):
        raise PermissionDenied
    ids = [id for text in request.GET.get("ids", "").split(",")[:SHOWN_AT_ONCE] if (id := uuid_of(text))]
    found = Subscription.objects.select_related("app", "repository").filter(pk__in=ids)
    badges = (render_to_string(TEMPLATE, status_context(subscription, swap=True)) for subscription in found)
    return HttpResponse("".join(badges))


def changed_status(subscription_id: UUID) -> str:
    """The subscription's badges for an out-of-band swap, wherever the page has them; blank where it was deleted."""
    now = Subscription.objects.select_related("app", "repository").filter(pk=subscription_id).first()
    return render_to_string(TEMPLATE, status_context(now, follow=True, swap=True)) if now else ""
