"""Polling a repository: one `ls-remote` however many apps follow it."""

import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now

from syncsvc.exceptions import GitError
from syncsvc.models import Repository, Subscription, Trigger
from syncsvc.stopping import STOPPING
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.disk import DISK
from syncsvc.sync.heads import ask_remote
from syncsvc.sync.remote_circuits import GitCircuitOpenError, enter_host
from syncsvc.sync.watch import RunEndsError
from syncsvc.types import ErrorKind

logger = structlog.get_logger(__name__)

# Ten thousand repositories must not be asked in one second.
POLL_JITTER = 0.1
# Failures in a row before the subscriptions run, and meet the failure themselves: one is no news.
FAILURES_BEFORE_RUNS = 3
# A poll that takes longer than this, in seconds, looks whether it is still wanted.
LONG_SECONDS = 1.0


def poll_repository(repository_id: uuid.UUID) -> bool:
    """Polls the repository if its poll is due and no other worker has it; says whether it did."""
    token = uuid.uuid4()
    if not Repository.objects.claim(repository_id, token=token):
        return False
    repository = Repository.objects.annotate(read_at=Now()).get(id=repository_id)
    delay = repository.poll_interval * random.uniform(1 - POLL_JITTER, 1 + POLL_JITTER)  # noqa: S311 - no secret
    try:
        if repository.queued_at is None:  # what somebody asked for does not wait for its host
            enter_host(repository)
        _hold_no_connection()
        ask_remote(repository, interrupt=_while_wanted(repository_id, token))
    except RunEndsError:
        Repository.objects.handed_back(repository_id, token=token)
    except GitCircuitOpenError as error:
        Repository.objects.passed_over(repository_id, token=token, delay=error.retry_after or delay)
    except GitError as error:
        _failed(repository, error, token=token, delay=delay)
    else:
        # As of before it was asked: what is pushed while it answers is not in the answer.
        asked_at: datetime = repository.read_at  # type: ignore[attr-defined]  # annotated above
        Repository.objects.checked(repository_id, token=token, at=asked_at, delay=delay)
    return True


def _while_wanted(repository_id: uuid.UUID, token: uuid.UUID) -> Callable[[], None]:
    """Raises RunEndsError where this process stops, or the repository was paused, deleted or given another remote."""
    looks_from = time.monotonic() + min(LONG_SECONDS, settings.GIT_LS_REMOTE_TIMEOUT / 4)

    def check() -> None:
        if STOPPING.is_set():
            raise RunEndsError
        if time.monotonic() < looks_from:
            return
        wanted = Repository.objects.filter(id=repository_id, lease_token=token, is_active=True)
        try:
            if not wanted.exists():
                raise RunEndsError
        except Error as error:
            logger.warning("database.away", error=type(error).__name__)
        finally:
            _hold_no_connection()

    return check


def _hold_no_connection() -> None:
    """git may take half a minute, during which the database's connection is for others."""
    if not connection.in_atomic_block:
        connection.close()


def _failed(repository: Repository, error: GitError, *, token: uuid.UUID, delay: float) -> None:
    logger.warning("poll.failed", repository=repository.name, error_kind=error.kind.value, error=str(error))
    if error.kind is ErrorKind.WORKER_DISK:
        DISK.failed(str(error))
    asked_to_wait = min(error.retry_after or 0.0, settings.RETRY_AFTER_MAX_SECONDS)
    Repository.objects.check_failed(repository.id, token=token, delay=max(delay, asked_to_wait))
    # Runs count their own failures as well: the streak may pass the number without a poll ever meeting it.
    if error.permanent or repository.failure_streak + 1 >= FAILURES_BEFORE_RUNS:
        unaware = Subscription.objects.filter(repository=repository, status="synced")
        ask_for_runs(unaware, Trigger.POLL)
