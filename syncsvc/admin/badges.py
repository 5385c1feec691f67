"""Outcomes of runs and results of attempts, as they look in every list and on every page."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin.cells import badge, kind_cell
from syncsvc.models import DeliveryAttempt, SyncRun

TONES = {
    SyncRun.Outcome.SYNCED: "good",
    SyncRun.Outcome.POSTPONED: "warn",
    SyncRun.Outcome.FAILED: "bad",
    SyncRun.Outcome.HELD: "bad",
    SyncRun.Outcome.INTERRUPTED: "quiet",
    SyncRun.Outcome.STOPPED: "quiet",
}


def run_badge(run: SyncRun) -> SafeString:
    if not run.outcome:
        return badge("Running", "busy")
    outcome = SyncRun.Outcome(run.outcome)
    return _with_kind(badge(outcome.label, TONES[outcome]), run.error_kind)


def attempt_badge(attempt: DeliveryAttempt) -> SafeString:
    if attempt.acknowledged:
        return badge(str(attempt.status), "good")
    return _with_kind(badge(str(attempt.status or "No answer"), "bad"), attempt.error_kind)


def run_changes(run: SyncRun) -> str:
    """`12 created, 3 deleted`."""
    parts = ((run.created, "created"), (run.updated, "updated"), (run.deleted, "deleted"))
    return ", ".join(f"{count:,} {word}" for count, word in parts if count) or "none"


def _with_kind(shown: SafeString, kind: str) -> SafeString:
    return format_html('<span class="status">{} {}</span>', shown, kind_cell(kind)) if kind else shown
