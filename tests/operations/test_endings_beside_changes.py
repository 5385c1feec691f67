"""A run ends while an operator changes its endpoint or its remote: its failure says nothing of the new one."""

import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from syncsvc.models import App, Operation, Repository, Status, Subscription
from syncsvc.operations import bulk
from syncsvc.operations.apps import save_app
from syncsvc.operations.repositories import save_repository
from syncsvc.store import circuits
from syncsvc.sync.ending import Failed
from syncsvc.sync.job import Job
from syncsvc.types import ErrorKind
from tests.operations.fleet import ASKER, FAILED, RETRY, adds_up, claim, counts, end, fleet, probe_fails
from tests.outages import open_circuit

SECONDS = 10

pytestmark = pytest.mark.django_db(transaction=True)

# Whether a transaction waits for a lock that this one holds.
SOMEBODY_WAITS = """
SELECT EXISTS (SELECT FROM pg_locks l WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid)))
"""


def beside(change: Callable[[], object], act: Callable[[], object]) -> bool:
    """Calls `act` when `change` is made and not committed yet, which it is once `act` waits for it; says if it did."""
    changed, over = threading.Event(), threading.Event()
    waits: list[bool] = []

    def operator() -> None:
        try:
            with transaction.atomic():
                change()
                changed.set()
                waits.append(somebody_waits())
        finally:
            connection.close()

    def somebody_waits() -> bool:
        deadline = time.monotonic() + SECONDS
        with connection.cursor() as cursor:
            while time.monotonic() < deadline and not over.wait(0.01):
                cursor.execute(SOMEBODY_WAITS)
                if cursor.fetchone()[0]:
                    return True
        return False

    thread = threading.Thread(target=operator)
    thread.start()
    assert changed.wait(SECONDS)
    try:
        act()
    finally:
        over.set()
        thread.join()
    return waits == [True]


def move_app() -> None:
    app = App.objects.get()
    app.url = "https://elsewhere.example.com/hook"
    save_app(app, ASKER, changed={"url"})


def change_credential() -> None:
    repository = Repository.objects.get()
    repository.username = "other"
    save_repository(repository, ASKER, changed={"username"})


def claimed() -> Job:
    (row,) = fleet(apps=1, each=1, status=Status.PENDING, due_at=timezone.now())
    job = claim(row.id)
    assert job is not None
    return job


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        (move_app, Failed(ErrorKind.ENDPOINT_REJECTED, "The endpoint refused it.")),
        (move_app, Failed(ErrorKind.ENDPOINT_GONE, "The endpoint is gone.")),
        (change_credential, FAILED),
    ],
)
def test_a_failure_that_ends_within_the_change_is_handed_back(change: Callable[[], None], ending: Failed) -> None:
    job = claimed()

    assert beside(change, lambda: end(job, ending)), "the end did not wait for the change"

    row = Subscription.objects.get()
    assert (row.status, row.error_kind, row.failing_since) == (Status.PENDING, "", None)
    assert Subscription.objects.filter(due_at__lte=Now()).exists()
    assert App.objects.get().is_active


def test_a_probe_that_failed_at_the_url_before_fails_nothing_that_waits_for_the_new_one() -> None:
    fleet(apps=1, each=3)
    open_circuit(App.objects.get().pk, cooldown=0)
    operation = bulk.start(RETRY, ASKER, max_running=1)
    job = Job.claim_next_released(worker="test")
    assert job is not None
    assert circuits.take_probe(job.app.id, early=False, seconds=60)
    ending = probe_fails(job)
    move_app()

    end(job, ending)

    assert counts(operation) == {"waiting": 3}
    assert adds_up()


@pytest.mark.parametrize("in_bulk", [True, False])
def test_a_failed_probe_locks_other_subscriptions_of_the_app_only_where_items_wait(in_bulk: bool) -> None:
    fleet(apps=1, each=3, status=Status.PENDING, due_at=timezone.now())
    probe, other, _ = Subscription.objects.order_by("id").values_list("id", flat=True)
    if in_bulk:
        Subscription.objects.exclude(id=probe).update(status=Status.FAILED, failed_at=Now())
        bulk.start(RETRY, ASKER)
    job = claim(probe)
    assert job is not None
    ending = probe_fails(job)
    locked = Subscription.objects.filter(id=other).select_for_update(no_key=True)

    assert beside(lambda: list(locked), lambda: end(job, ending)) is in_bulk

    assert not Operation.objects.filter(waiting__gt=0).exists()
