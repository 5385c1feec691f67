"""One subscription: retry it, send everything again."""

from typing import Any

from django.http import HttpRequest
from ninja import Router

from syncsvc.api.callers import caller_of, needs
from syncsvc.api.schemas import Data, Queued, Target, wrapped
from syncsvc.exceptions import Refused
from syncsvc.models import Subscription
from syncsvc.models.token import TokenScope
from syncsvc.operations import single

router = Router(tags=["one subscription"])


@router.post("retry", response=Data[Queued], auth=needs("retry_subscription", TokenScope.RETRY))
def retry(request: HttpRequest, target: Target) -> dict[str, Any]:
    """Runs a failed subscription, or one that waits for its next try, at once."""
    queued = single.retry(_named(target).id, caller_of(request).asker)
    return wrapped({"queued": True, **target.model_dump(), "note": queued.note or None})


@router.post("resync", response=Data[Queued], auth=needs("resync_subscription", TokenScope.RESYNC))
def resync(request: HttpRequest, target: Target) -> dict[str, Any]:
    """Sends all files again, and what the repository no longer has as deleted."""
    queued = single.resync(_named(target).id, caller_of(request).asker)
    return wrapped({"queued": True, **target.model_dump(), "note": queued.note or None})


def _named(target: Target) -> Subscription:
    found = Subscription.objects.filter(app_id=target.app_id, repository_id=target.repository_id).first()
    if found is None:
        raise Refused("not_found", f"No subscription of app {target.app_id} to repository {target.repository_id}.")
    return found
