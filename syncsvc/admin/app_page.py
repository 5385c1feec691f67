"""The panels of an app's page: whether it is well, what it was sent in the last day, and its circuit."""

import json
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from syncsvc.admin import kept
from syncsvc.admin.moments import with_moments
from syncsvc.admin.moved import version_of
from syncsvc.models import App
from syncsvc.statistics.pages import app_counts, app_day, app_latency, app_with_numbers

LATENCY_SECONDS = 60  # reading a day's attempts takes a large app 60 ms
MOVING, STILL = 2, 15  # seconds between two questions of a tab


def health(app: App) -> dict[str, Any]:
    """The context of the part `health`. What costs anything is read once for all that look, and kept in Redis."""
    read = getattr(app, "numbers", None) or kept.kept(f"app:{app.pk}", lambda: _numbers(app))
    numbers = with_moments(json.loads(read))
    counts, day = numbers["counts"], numbers["day"]
    latency = kept.kept(f"app-latency:{app.pk}", lambda: json.dumps(app_latency(app.pk)), seconds=LATENCY_SECONDS)
    sent = day["delivered"] + day["failed"]
    version = version_of(app.is_active, app.circuit_until, app.throttled_until, sorted(counts.items()))
    return {
        "counts": counts,
        "day": day,
        "rate": rate_text(day["delivered"], sent) if sent else "",
        "latency": json.loads(latency),
        "verdict": verdict(app, counts),
        "throttled": throttled(app, counts),
        "version": version,
        "address": f"{reverse('admin:syncsvc_app_change', args=[app.pk])}?part=health&v={version}",
        "every": MOVING if counts["moving"] and app.is_active else STILL,
    }


def for_part(app_id: UUID) -> App | None:
    """The app, and with it in one statement what a poll would have to ask for anew."""
    if kept.is_fresh(f"app:{app_id}") and kept.is_fresh(f"app-latency:{app_id}"):
        return App.objects.filter(pk=app_id).first()
    latency = not kept.is_fresh(f"app-latency:{app_id}")
    app = app_with_numbers(app_id, latency=latency)
    if app is not None:
        numbers: str = getattr(app, "numbers")  # noqa: B009 - the annotation
        kept.keep(f"app:{app_id}", numbers)
        if latency:
            said = json.dumps(json.loads(numbers)["latency"])
            kept.keep(f"app-latency:{app_id}", said, seconds=LATENCY_SECONDS)
    return app


def forget(app: App) -> None:
    """Somebody has just changed something here, and wants to see it."""
    kept.forget(f"app:{app.pk}")


def throttled(app: App, counts: dict[str, Any]) -> dict[str, Any] | None:
    """Until when the endpoint wants fewer requests; `waits` is False once that is over and one request tries it.

    None where it does not, or where nothing is left that could tell.
    """
    until = app.throttled_until
    if until is None:
        return None
    waits = until > timezone.now()
    asked_for = counts["throttled"] + counts["retrying"] + counts["syncing"]
    return {"until": until, "since": app.throttled_since, "waits": waits} if waits or asked_for else None


def verdict(app: App, counts: dict[str, Any]) -> dict[str, str]:
    """The worst of what there is to say, as a badge."""
    if not app.is_active:
        return {"word": "Paused", "tone": "quiet"}
    if app.circuit_opened_at is not None:
        return {"word": "Circuit open", "tone": "bad"}
    if counts["failed"]:
        return {"word": f"{counts['failed']:,} failed", "tone": "bad"}
    if counts["retrying"]:
        return {"word": f"{counts['retrying']:,} retrying", "tone": "warn"}
    if throttled(app, counts):
        return {"word": "Throttled", "tone": "warn"}
    if counts["old_url_files"]:
        return {"word": "New URL", "tone": "warn"}
    if not counts["total"]:
        return {"word": "Follows nothing", "tone": "quiet"}
    return {"word": "Healthy", "tone": "good"}


def rate_text(delivered: int, sent: int) -> str:
    """Rounded down: 100 % says that nothing failed."""
    return f"{delivered * 1000 // sent / 10:g} %"


def _numbers(app: App) -> str:
    return json.dumps({"counts": app_counts(app.pk), "day": app_day(app.pk)})
