"""Telling an app that its repository cannot be followed: `sync.failed`, once a streak of failures, in one try."""

from datetime import timedelta

from syncsvc.delivery.payload import Origin, sync_failed, timestamp_text
from syncsvc.error_kinds import POLICIES
from syncsvc.models import App, Subscription, SyncRun
from syncsvc.models.status import Failure
from syncsvc.store.attempts import log_attempts
from syncsvc.sync.attempt_log import attempt_of
from syncsvc.sync.circuit import pause_gone
from syncsvc.sync.job import Job
from syncsvc.sync.one_message import send_message


def tell_app_of_failure(job: Job, run: SyncRun, failure: Failure, *, delay: float | None) -> None:
    """Sends what only the app's people can see from here: git failures and held deletes."""
    if not POLICIES[failure.kind].told_to_app:
        return
    app = App.objects.filter(id=job.app.id, is_active=True).first()  # the run may have taken long
    if app is None:
        return
    if not Subscription.objects.filter(id=job.subscription.id, failure_notified=False).update(failure_notified=True):
        return
    now = job.now()
    repository = job.repository
    body = sync_failed(
        Origin(str(repository.id), repository.url, repository.shown_branch),
        str(run.id),
        app_id=str(app.id),
        kind=failure.kind,
        error=failure.error,
        failing_since=job.subscription.failing_since or run.started_at,
        next_try=None if delay is None else now + timedelta(seconds=delay),
        timestamp=timestamp_text(now),
    )
    answer = send_message(app, body, now)
    if answer.error_kind is not None and POLICIES[answer.error_kind].pauses_app:
        pause_gone(app.id, url=app.url)
    attempt = attempt_of(answer, kind="sync.failed", path=None, files=0)
    log_attempts(job.subscription.id, run.id, [attempt])
