"""A request and its answer, as the log of attempts and the log file have them: never a body, secret or token."""

from collections.abc import Sequence

import structlog

from syncsvc.delivery.answers import Answer, Request
from syncsvc.delivery.signing import SIGNATURE_HEADERS
from syncsvc.store.attempts import Attempt
from syncsvc.sync.job import Job
from syncsvc.types import ErrorKind

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
        header_names=_own_headers(answer.request.headers),
    )


def _own_headers(lines: Sequence[bytes]) -> str | None:
    """`Authorization, X-Key` where the app has headers of its own: they follow those of the signature."""
    own = lines[SIGNATURE_HEADERS:]
    return ", ".join(line.partition(b":")[0].decode() for line in own) if own else None


def given_up[Tag](request: Request[Tag], seconds: float, because: str) -> Answer[Tag]:
    """A request that was on its way for so many seconds, and that syncsvc ended itself."""
    text = f"syncsvc did not wait for the answer, because {because}. The endpoint may have acted on it."
    return Answer(request, None, ErrorKind.ENDPOINT_TIMEOUT, text, b"", max(0.0, seconds), None)


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
