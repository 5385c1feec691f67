"""Thin Celery tasks: they take ids and call one function."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.conf import settings
from django.db import Error

from syncsvc import wakeup
from syncsvc.models import Subscription
from syncsvc.operations.release import go_on
from syncsvc.stopping import STOPPING
from syncsvc.sync.disk import DISK
from syncsvc.sync.heartbeat import CRASHES, start_heartbeat
from syncsvc.sync.lease import KEEPER
from syncsvc.sync.polls import POLLS
from syncsvc.sync.preview import make_preview
from syncsvc.sync.retention import delete_expired
from syncsvc.sync.slots import SLOTS

# Seconds that runs have for recording after STOP_SECONDS.
STOP_MARGIN = 2


@contextlib.contextmanager
def noted(task: "Task[..., None]") -> Iterator[None]:
    """What fails between a wake-up and a run is shown with its worker, since no run has it on record."""
    try:
        yield
    except Exception as error:
        CRASHES.note(task.name or "", error)
        raise


@shared_task(name=wakeup.RUN_SUBSCRIPTION, bind=True)
def run_subscription(self: "Task[..., None]", subscription_id: str) -> None:
    with noted(self):
        if DISK.is_well():
            SLOTS.run(uuid.UUID(subscription_id), worker=self.request.hostname or "", settled=go_on)
        else:  # another worker may be well: the sweep sends the wake-up again
            Subscription.objects.filter(id=subscription_id).wake_ups_are_lost()


@shared_task(name=wakeup.RUN_RELEASED, bind=True)
def run_released(self: "Task[..., None]") -> None:
    with noted(self):
        if DISK.is_well():
            SLOTS.run_released(worker=self.request.hostname or "", settled=go_on)


@shared_task(name=wakeup.POLL_REPOSITORY)
def poll_repository(repository_id: str) -> None:
    POLLS.knock()


@shared_task(name=wakeup.PREVIEW_CHANGES, bind=True)
def preview_changes(self: "Task[..., None]", subscription_id: str) -> None:
    with noted(self), SLOTS.other_work():
        make_preview(uuid.UUID(subscription_id))


@shared_task(name=wakeup.DELETE_EXPIRED, bind=True)
def delete_expired_rows(self: "Task[..., None]") -> None:
    with noted(self), SLOTS.other_work():
        delete_expired()


@worker_ready.connect
def _ready(sender: Any, **_: object) -> None:
    SLOTS.rooms.when_long_changes(sender.pool.set_apart)
    POLLS.start()
    start_heartbeat(sender.hostname)


@worker_shutting_down.connect
def _stop(**_: object) -> None:
    STOPPING.set()
    threading.Thread(target=_end_in_time, daemon=True).start()


def _end_in_time() -> None:
    """Ends threads that do not look at STOPPING: a database that is away, a disk that hangs."""
    time.sleep(settings.STOP_SECONDS + STOP_MARGIN)
    with contextlib.suppress(Error):
        KEEPER.give_up()
    os._exit(0)
