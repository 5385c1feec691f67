"""Many subscriptions, and workers that claim and settle real runs of them without git and HTTP in between."""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection

from syncsvc.models import Operation, OperationItem, Subscription, SyncRun
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import go_on
from syncsvc.operations.scope import Scope
from syncsvc.store.throttles import Throttled
from syncsvc.sync.circuit import OpenCircuit
from syncsvc.sync.ending import (
    Ending,
    EndpointLeftAlone,
    EndpointThrottled,
    Failed,
    HandedBack,
    Incomplete,
    Progress,
    Stopped,
    Synced,
)
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.plan import Plan
from syncsvc.sync.settle import settle
from syncsvc.sync.tally import Stop, Tally
from syncsvc.types import ErrorKind
from tests.factories import AppFactory, RepositoryFactory, SnapshotFactory, SubscriptionFactory

ASKER = Asker(name="a test", source=Operation.Source.COMMAND)
RETRY = Scope(kind=Operation.Kind.RETRY)
RESYNC = Scope(kind=Operation.Kind.RESYNC)

SYNCED = Synced()
# Permanent: failed at once. The other kind is postponed while there are quick retries left.
FAILED = Failed(ErrorKind.GIT_NOT_FOUND, "There is no such repository.")
POSTPONED = Failed(ErrorKind.GIT_UNREACHABLE, "The remote does not answer.")
HANDED_BACK = HandedBack()
STOPPED = Stopped()


def fleet(apps: int, each: int, **values: Any) -> list[Subscription]:
    """So many apps that follow so many repositories each; failed, unless something else is said."""
    repositories = [RepositoryFactory() for _ in range(each)]
    values = values or {"failed": True}
    rows = [
        SubscriptionFactory.build(app=app, repository=repository, **values)
        for app in (AppFactory() for _ in range(apps))
        for repository in repositories
    ]
    Subscription.objects.bulk_create(rows)
    return list(Subscription.objects.order_by("app__name", "repository__name"))


def claim(subscription_id: uuid.UUID) -> Job | None:
    """As a worker that got a wake-up does."""
    return Job.claim(subscription_id, worker="test")


def end(job: Job, ending: Ending) -> SyncRun | None:
    return settle(job, ending, go_on)


def run(subscription_id: uuid.UUID, ending: Ending = SYNCED) -> bool:
    """False where there was nothing to claim, or the lease was lost on the way."""
    job = claim(subscription_id)
    if job is None:
        return False
    try:
        end(job, ending)
    except LeaseLostError:
        return False
    return True


def work(subscriptions: Iterable[Subscription], ending: Ending = SYNCED) -> None:
    """Runs what can be claimed until nothing can."""
    ids = [subscription.id for subscription in subscriptions]
    while [id for id in ids if run(id, ending)]:
        pass


def _progress(job: Job, tally: Tally | None = None) -> Progress:
    snapshot = SnapshotFactory(repository=job.repository)
    return Progress(snapshot, Plan(known=0, deletes=0, created=1), tally or Tally())


def meets_open_circuit(job: Job) -> EndpointLeftAlone:
    return EndpointLeftAlone(OpenCircuit(for_seconds=10, remaining=30), _progress(job))


def is_throttled(job: Job, *, remaining: float = 0.0, silent: float = 0.0) -> EndpointThrottled:
    return EndpointThrottled(Throttled(remaining, silent), _progress(job))


def probe_fails(job: Job) -> Incomplete:
    """Of an endpoint that has not answered for long, and still does not."""
    tally = Tally(failed=1, kind=ErrorKind.ENDPOINT_TIMEOUT, error="No answer.", stop=Stop.CIRCUIT, probe_failed=True)
    return Incomplete(_progress(job, tally))


def hand_back_beside(jobs: Sequence[Job | None], act: Callable[[], object]) -> None:
    """Four workers hand these back, while something else is done."""

    def one(number: int) -> None:
        if number == 4:
            act()
        else:
            for job in jobs[number::4]:
                assert job is not None
                end(job, HANDED_BACK)

    in_threads(one, 5)


def expire_leases() -> None:
    Subscription.objects.filter(status="syncing").update(lease_expires_at="2020-01-01T00:00:00Z")


SUMS = """
SELECT o.id, o.status, o.total,
  ARRAY[o.waiting, o.running, o.succeeded, o.failed, o.skipped, o.cancelled],
  (SELECT ARRAY[count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status = 'running'),
     count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed'),
     count(*) FILTER (WHERE status = 'skipped'), count(*) FILTER (WHERE status = 'cancelled')]
   FROM syncsvc_operationitem WHERE operation_id = o.id)
FROM syncsvc_operation o
"""
ENDED = ("finished", "cancelled")


def adds_up() -> bool:
    """Every operation's counts are those of its items, looked at in one statement; what has ended has nothing left."""
    with connection.cursor() as cursor:
        cursor.execute(SUMS)
        rows = cursor.fetchall()
    for id, status, total, counts, items in rows:
        assert counts == items, (id, status, total, counts, items)
        assert sum(counts) == total, (id, status, total, counts)
        assert (sum(counts[:2]) == 0) == (status in ENDED), (id, status, counts)
    return True


def counts(operation: Operation) -> dict[str, int]:
    """Those that are not zero."""
    operation.refresh_from_db()
    names = OperationItem.Status.values
    return {name: getattr(operation, name) for name in names if getattr(operation, name)}


def in_threads[T](call: Callable[[int], T], count: int) -> list[T]:
    """All begin at once; their results, in order. The first exception is the test's."""
    barrier = threading.Barrier(count)

    def one(number: int) -> T:
        barrier.wait(20)
        try:
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@contextmanager
def sampling() -> Iterator[list[int]]:
    """Looks from another thread whether everything adds up, all the time; the list gets one entry a look."""
    looks: list[int] = []
    wrong: list[AssertionError] = []
    ended = threading.Event()

    def look() -> None:
        try:
            while not ended.is_set():
                adds_up()
                looks.append(1)
                ended.wait(0.003)
        except AssertionError as error:
            wrong.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        ended.set()
        thread.join(20)
    assert not wrong, wrong[0]


def apps_of(ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    known = dict(Subscription.objects.values_list("id", "app_id"))
    return [known[id] for id in ids]
