"""A request and its answer, as the log of attempts and the log file have them: never a body, secret or token."""

import structlog

from syncsvc.delivery.answers import Answer
from syncsvc.store.attempts import Attempt
from syncsvc.sync.job import Job

logger = structlog.get_logger(__name__)


def attempt_of[Tag](answer: Answer[Tag], *, kind: str, path: bytes | None, files: int) -> Attempt:
    """`kind` is created, updated, deleted, batch, ping or sync.failed; `path` is None but for one file."""
    return Attempt(
        webhook_id=answer.request.webhook_id,
        kind=kind,
        path=path,
        files=files,
        status=answer.status,
        error_kind=answer.error_kind or "",
        error=answer.error,
        milliseconds=int(answer.seconds * 1000),
        answer=answer.body,
    )


def log_failure[Tag](job: Job, answer: Answer[Tag], path: bytes | None) -> None:
    logger.warning(
        "attempt.failed",
        run=str(job.run_id),
        subscription=str(job.subscription.id),
        app=job.app.name,
        repository=job.repository.name,
        webhook_id=answer.request.webhook_id,
        path=path and path.decode(errors="backslashreplace"),
        status=answer.status,
        error_kind=answer.error_kind and answer.error_kind.value,
        milliseconds=int(answer.seconds * 1000),
    )
