"""The only place that enqueues: after commit, by task name. A lost message loses nothing, the sweep sends it again."""

import uuid
from collections.abc import Iterable
from typing import Protocol

import structlog
from django.conf import settings
from django.db import transaction

logger = structlog.get_logger(__name__)

RUN_SUBSCRIPTION = "syncsvc.run_subscription"
RUN_RELEASED = "syncsvc.run_released"
POLL_REPOSITORY = "syncsvc.poll_repository"
PREVIEW_CHANGES = "syncsvc.preview_changes"
DELETE_EXPIRED = "syncsvc.delete_expired"

# The last seven digits of an id, which PostgreSQL can read as a number too.
SHARD_BITS = 0xFFFFFFF

# What each is about, and the queue it goes to.
type Messages = list[tuple[list[uuid.UUID], str]]


class WantsRun(Protocol):
    @property
    def id(self) -> uuid.UUID: ...

    @property
    def repository_id(self) -> uuid.UUID: ...


def queue_name(lane: str, repository_id: uuid.UUID) -> str:
    """The queue of a repository's shard, in the lane `live` or `bulk`; the same on every machine."""
    return f"{lane}.{(repository_id.int & SHARD_BITS) % settings.SYNC_QUEUES}"


def housekeeping_queue() -> str:
    return "bulk.0"


def wake_runs(subscriptions: Iterable[WantsRun]) -> None:
    """Wakes a worker for each, after commit."""
    _send_after_commit(RUN_SUBSCRIPTION, [([s.id], queue_name("live", s.repository_id)) for s in subscriptions])


def wake_for_released(repository_ids: Iterable[uuid.UUID]) -> None:
    """Wakes one worker a shard for what operations have released there, after commit: who finds work wakes the next."""
    queues = {queue_name("bulk", id) for id in repository_ids}
    _send_after_commit(RUN_RELEASED, [([], queue) for queue in sorted(queues)])


def wake_polls(repository_ids: Iterable[uuid.UUID]) -> None:
    """Has a worker look now for polls that are due, after commit: it would within a second."""
    _send_after_commit(POLL_REPOSITORY, [([id], queue_name("live", id)) for id in repository_ids])


def wake_preview(subscription: WantsRun) -> None:
    """Wakes a worker that says what would be sent now, after commit."""
    _send_after_commit(PREVIEW_CHANGES, [([subscription.id], queue_name("live", subscription.repository_id))])


def _send_after_commit(task: str, messages: Messages) -> None:
    if messages:
        transaction.on_commit(lambda: _send(task, messages))


def _send(task: str, messages: Messages) -> None:
    # Not before: most commands wake nobody, and would take twice as long to start.
    from kombu.exceptions import KombuError

    from config.celery import app

    try:
        with app.producer_pool.acquire(block=True, timeout=2) as producer:
            for ids, queue in messages:
                app.send_task(task, args=[str(id) for id in ids], queue=queue, producer=producer, retry=False)
    except (KombuError, OSError) as error:
        # The rows say that they are queued; REQUEUE_AFTER later the sweep finds that nothing came of it.
        logger.warning("wakeup.failed", task=task, messages=len(messages), error=type(error).__name__)
