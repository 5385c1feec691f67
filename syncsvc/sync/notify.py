"""Telling an app that its repository cannot be followed: `sync.failed`, once a streak of failures, in one try."""

import uuid
from datetime import timedelta

from django.conf import settings

from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.once import send_once
from syncsvc.delivery.payload import Origin, sync_failed, timestamp_text
from syncsvc.models import DeliveryAttempt, Subscription, SyncRun
from syncsvc.models.attempt import Attempt
from syncsvc.models.transitions import Failure
from syncsvc.sync.circuit import pause_gone
from syncsvc.sync.job import Job
from syncsvc.sync.transports import USER_AGENT
from syncsvc.types import ErrorKind


def tell_app_of_failure(job: Job, run: SyncRun, failure: Failure, *, delay: float | None) -> None:
    """Sends what only the app's people can see from here: git failures and held deletes."""
    if not (failure.kind.about_git or failure.kind is ErrorKind.MASS_DELETE_HELD) or not job.app.is_active:
        return
    if not Subscription.objects.filter(id=job.subscription.id, failure_notified=False).update(failure_notified=True):
        return
    now = job.now()
    repository = job.repository
    body = sync_failed(
        Origin(str(repository.id), repository.url, repository.shown_branch),
        str(run.id),
        kind=failure.kind,
        error=failure.error,
        failing_since=job.subscription.failing_since or run.started_at,
        next_try=None if delay is None else now + timedelta(seconds=delay),
        timestamp=timestamp_text(now),
    )
    answer = send_once(
        url=job.app.url,
        secrets=job.app.signing_secrets(now),
        webhook_id=str(uuid.uuid4()),
        timestamp=int(now.timestamp()),
        body=body,
        addresses=AddressPolicy(settings.WEBHOOK_ALLOWED_NETWORKS),
        timeout=settings.WEBHOOK_TIMEOUT,
        connect_timeout=settings.WEBHOOK_CONNECT_TIMEOUT,
        user_agent=USER_AGENT,
    )
    if answer.error_kind is ErrorKind.ENDPOINT_GONE:
        pause_gone(job.app)
    attempt = Attempt(
        webhook_id=answer.request.webhook_id,
        kind="sync.failed",
        path=None,
        files=0,
        status=answer.status,
        error_kind=answer.error_kind or "",
        error=answer.error,
        milliseconds=int(answer.seconds * 1000),
        answer=answer.body,
    )
    DeliveryAttempt.objects.log(job.subscription.id, run.id, [attempt])
