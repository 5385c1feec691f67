"""The panels of an app's page: whether it is well, what it was sent in the last day, and its circuit."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from syncsvc.admin import kept
from syncsvc.admin.actions import RESYNC_ALL
from syncsvc.admin.arrival import rest_text, tries_again_text
from syncsvc.admin.buttons import Button
from syncsvc.admin.numbers import Numbers
from syncsvc.admin.panels import Panel, Panels
from syncsvc.admin.parts import DAY_SECONDS, version_of
from syncsvc.admin.standing import rows_panel
from syncsvc.admin.tones import Verdict
from syncsvc.models import App
from syncsvc.operations.moves import OldUrl
from syncsvc.statistics.pages import app_counts, app_day, app_latency, app_with_numbers
from syncsvc.sync.present_pace import present_pace
from syncsvc.words import pace_text

DISMISS = Button(
    "dismiss_old_url",
    "Dismiss",
    "The new endpoint has what it needs: say no more of the old one",
    in_place=True,
    failed="Failed to dismiss",
)
THROTTLED = "Throttled"
MANY_REQUESTS = 5_000  # reading a day's attempts takes a large app 60 ms, a small one none


def _read(app_id: UUID) -> str:
    return json.dumps({"counts": app_counts(app_id), "day": app_day(app_id)})


NUMBERS = Numbers("app", _read)


def health(request: HttpRequest, app: App) -> dict[str, Any]:
    """How well the app is. What the database must count is read once for all tabs, and kept in Redis."""
    numbers = NUMBERS.of(app)
    counts, day = numbers["counts"], numbers["day"]
    latency = kept.kept(f"app-latency:{app.pk}", lambda: json.dumps(app_latency(app.pk)), seconds=_latency_seconds)
    sent = day["delivered"] + day["failed"]
    present = present_pace(app.pk) if counts["syncing"] else None
    version = version_of(
        app.is_active, app.circuit_until, app.throttled_until, app.failure_streak, sorted(counts.items())
    )
    return {
        "counts": counts,
        "day": day,
        "rate": rate_text(day["delivered"], sent) if sent else "",
        "latency": json.loads(latency),
        "verdict": verdict(app, counts),
        "tries_again": tries_again_text(counts),
        "rest": rest_text(counts),
        "throttled": throttled(app, counts),
        "present": present,
        "present_pace": pace_text(present.per_second, "request") if present else "",
        "version": version,
        "moves": bool(counts["moving"] and app.is_active),
    }


def old_url(request: HttpRequest, app: App) -> dict[str, Any]:
    """The notice about files that the old URL had. Permissions are asked for only where it is shown."""
    counts = NUMBERS.counts_of(app)
    if not counts["old_url_files"]:
        return {}
    may = {RESYNC_ALL: f"syncsvc.{RESYNC_ALL.permission}", DISMISS: "syncsvc.change_app"}
    buttons = [_in_notice(button, app) for button, name in may.items() if request.user.has_perm(name)]
    return {"old_url": OldUrl(counts["old_url_files"], counts["old_url_subscriptions"]), "old_url_buttons": buttons}


def _in_notice(button: Button, app: App) -> dict[str, Any]:
    """The button as the notice shows it; `place` makes its id differ from that of the button in the header."""
    url = reverse(f"admin:syncsvc_app_{button.press}", args=[app.pk])
    return {**button._asdict(), "url": url, "place": "-old-url"}


def for_part(app_id: UUID) -> App | None:
    """The app for a poll of its panel; where its numbers are to be read as well, one statement reads both."""
    if NUMBERS.is_fresh(app_id) and kept.is_fresh(f"app-latency:{app_id}"):
        return App.objects.filter(pk=app_id).first()
    latency = not kept.is_fresh(f"app-latency:{app_id}")
    app = app_with_numbers(app_id, latency=latency)
    if app is not None:
        numbers = NUMBERS.keep(app)
        if latency:
            said = json.dumps(json.loads(numbers)["latency"])
            kept.keep(f"app-latency:{app_id}", said, seconds=_latency_seconds(said))
    return app


def _latency_seconds(text: str) -> float:
    """Seconds for which the answer times are kept: those of few requests are as new as the other numbers."""
    return DAY_SECONDS if json.loads(text)["requests"] > MANY_REQUESTS else kept.SECONDS


def throttled(app: App, counts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The wait that the endpoint asked for; `waits` is False when it is over and one request goes first.

    None where the endpoint asked for none, or where no subscription is left that could end the wait.
    """
    until = app.throttled_until
    if until is None:
        return None
    waits = until > timezone.now()
    asked_for = counts["throttled"] + counts["retrying"] + counts["syncing"]
    return {"until": until, "since": app.throttled_since, "waits": waits} if waits or asked_for else None


def verdict(app: App, counts: Mapping[str, Any]) -> Verdict:
    """The worst condition that the app is in."""
    if not app.is_active:
        return {"word": "Paused", "tone": "quiet"}
    if app.circuit_opened_at is not None:
        return {"word": "Circuit open", "tone": "bad"}
    if counts["failed"]:
        return {"word": f"{counts['failed']:,} failed", "tone": "bad"}
    if counts["retrying"]:
        return {"word": f"{counts['retrying']:,} retrying", "tone": "warn"}
    if throttled(app, counts):
        return {"word": THROTTLED, "tone": "warn"}
    if counts["failing_runs"]:
        return {"word": "Not all taken", "tone": "warn"}
    if counts["asked_again"]:
        return {"word": "Asked again", "tone": "warn"}
    if app.failure_streak and counts["synced"] + counts["empty"] < counts["total"]:
        return {"word": "Not answered well", "tone": "warn"}
    if counts["old_url_files"]:
        return {"word": "New URL", "tone": "warn"}
    if not counts["total"]:
        return {"word": "Follows nothing", "tone": "quiet"}
    if counts["empty"] == counts["total"]:
        return {"word": "No commit yet", "tone": "quiet"}
    return {"word": "Healthy", "tone": "good"}


def rate_text(delivered: int, sent: int) -> str:
    """Rounded down: 100 % says that nothing failed."""
    return f"{delivered * 1000 // sent / 10:g} %"


PANELS: Panels = {
    "health": Panel(context=health, tells=True, row=for_part),
    "old_url": Panel(context=old_url),
    "rows": rows_panel(NUMBERS.counts_of),
}
