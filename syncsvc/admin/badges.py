"""Outcomes of runs and results of attempts, as they look in every list and on every page."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin.cells import badge, kind_cell
from syncsvc.admin.tones import Tone, result_of
from syncsvc.models import DeliveryAttempt, SyncRun
from syncsvc.types import ErrorKind
from syncsvc.words import changes


def run_badge(run: SyncRun) -> SafeString:
    return _with_kind(badge(*result_of(run)), run.error_kind)


def attempt_badge(attempt: DeliveryAttempt) -> SafeString:
    if attempt.acknowledged:
        return badge(str(attempt.status), "good")
    tone: Tone = "warn" if attempt.error_kind == ErrorKind.ENDPOINT_THROTTLED else "bad"  # it is no failure
    return _with_kind(badge(str(attempt.status or "No answer"), tone), attempt.error_kind)


def run_changes(run: SyncRun) -> str:
    """`12 created, 3 deleted`."""
    nothing = "none" if run.outcome else "not known yet"
    return changes(created=run.created, updated=run.updated, deleted=run.deleted, nothing=nothing)


def _with_kind(shown: SafeString, kind: str) -> SafeString:
    return format_html('<span class="status">{} {}</span>', shown, kind_cell(kind)) if kind else shown
