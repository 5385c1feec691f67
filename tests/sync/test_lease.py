"""Leases: a run that lost its own writes nothing more; a long run keeps it; a dead one's expires."""

import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import App, DeliveryAttempt, Status, Subscription, SyncRun, Trigger
from syncsvc.stopping import STOPPING
from syncsvc.store.claim import claim
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.lease import KEEPER, Lease, LeaseKeeper
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.scheduler import end_expired_leases, sweep
from tests.factories import SubscriptionFactory, SyncRunFactory
from tests.receiver import OK, Reply, Script, accept
from tests.sync.answers import always
from tests.sync.world import World, contents


@pytest.fixture(autouse=True)
def _go_on() -> Iterator[None]:
    yield
    STOPPING.clear()


@pytest.fixture
def short_leases(settings: Settings) -> None:
    settings.LEASE_SECONDS, settings.LEASE_RENEW_SECONDS, settings.WEBHOOK_TIMEOUT = 2.0, 0.1, 0.5


def at_request(number: int, do: object) -> Script:
    """Does something while the given request (from 1) waits for its answer."""
    arrived: list[int] = []

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        arrived.append(1)
        if len(arrived) == number:
            do()  # type: ignore[operator]
            connection.close()
        return OK

    return answer


def run(world: World) -> SyncRun | None:
    ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC)
    return run_subscription(world.id, worker="test")


def test_a_fenced_run_starts_no_request_and_writes_nothing_more(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n:02}": b"1" for n in range(30)})
    thief = uuid.uuid4()

    def steal() -> None:
        Subscription.objects.update(lease_token=thief)
        KEEPER.renew()

    world.receiver.answer = at_request(5, steal)

    assert run(world) is None

    assert len(world.receiver.requests) == 5
    rows = world.ledger()
    assert {row.blob for row in rows.values()} == {None}
    assert all(row.in_doubt for row in rows.values())
    subscription = world.subscription
    assert (subscription.status, subscription.lease_token) == ("syncing", thief)
    assert (SyncRun.objects.get().outcome, subscription.error_kind) == ("", "")


def test_a_run_learns_from_the_ledger_that_it_is_fenced_where_no_renewal_has_told_it(world: World) -> None:
    world.repo.commit({f"{n:03}": b"1" for n in range(900)})
    world.receiver.answer = at_request(5, lambda: Subscription.objects.update(lease_token=uuid.uuid4()))

    assert run(world) is None

    assert len(world.receiver.requests) < 900
    assert not any(row.blob for row in world.ledger().values())


def test_what_a_fenced_run_sent_goes_out_again_with_the_same_ids(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n:02}": b"1" for n in range(10)})
    world.receiver.answer = at_request(5, lambda: Subscription.objects.update(lease_token=uuid.uuid4()))
    run(world)
    first = {request.headers["webhook-id"] for request in world.receiver.requests}
    before = len(world.receiver.requests)
    Subscription.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    sweep()
    world.receiver.answer = accept

    ended = world.run_when_due()

    assert ended is not None
    assert ended.outcome == "synced"
    again = {request.headers["webhook-id"] for request in world.receiver.requests[before:]}
    assert first <= again
    assert len(again) == 10
    assert world.client().files == contents(world.repo)


def test_a_deleted_subscription_ends_its_run(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n:03}": b"1" for n in range(300)})

    def delete() -> None:
        Subscription.objects.all().delete()
        KEEPER.renew()

    world.receiver.answer = at_request(5, delete)

    assert run(world) is None
    assert len(world.receiver.requests) == 5


def test_renewals_keep_a_run_that_is_longer_than_its_lease(world: World, short_leases: None) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n}": b"1" for n in range(12)})
    world.receiver.answer = always(204, delay=0.3)
    swept: list[int] = []
    over = threading.Event()

    def renew_and_sweep() -> None:
        # The keeper's own thread sleeps for as long as leases were to last when the tests before began.
        while not over.wait(0.2):
            KEEPER.renew()
            swept.append(end_expired_leases())
        connection.close()

    beside = threading.Thread(target=renew_and_sweep)
    beside.start()
    started = time.monotonic()
    ended = run(world)
    over.set()
    beside.join()

    assert ended is not None
    assert time.monotonic() - started > 3
    assert (ended.outcome, ended.delivered, sum(swept)) == ("synced", 12, 0)


def test_the_keeper_renews_by_itself_until_the_run_is_over(world: World, short_leases: None) -> None:
    lease = Lease()
    claim(world.id, token=lease.token, run_id=uuid.uuid4(), worker="w")
    claimed = world.subscription.lease_expires_at
    assert claimed is not None

    with LeaseKeeper().keeping(lease):
        deadline = time.monotonic() + 5
        while world.subscription.lease_expires_at == claimed and time.monotonic() < deadline:
            time.sleep(0.05)
        renewed = world.subscription.lease_expires_at
        assert renewed is not None
        assert renewed > claimed
        Subscription.objects.update(lease_token=uuid.uuid4())
        assert lease.lost.wait(5)


def test_a_request_that_could_outlast_the_lease_is_not_started(settings: Settings) -> None:
    settings.LEASE_SECONDS = 2.0
    lease = Lease()

    assert lease.covers(1.5)
    assert not lease.covers(2.1)
    time.sleep(0.6)
    assert not lease.covers(1.5)
    lease.renewed(time.monotonic())
    assert lease.covers(1.5)
    lease.lost.set()
    assert not lease.covers(0)


@pytest.mark.usefixtures("transactional_db")
def test_what_a_dead_worker_left_is_pending_again_and_its_run_is_interrupted() -> None:
    dead, alive = SubscriptionFactory(), SubscriptionFactory()
    for subscription in (dead, alive):
        claim(subscription.id, token=uuid.uuid4(), run_id=uuid.uuid4(), worker="w")
    over = SyncRunFactory(subscription=dead, outcome="synced")
    Subscription.objects.filter(id=dead.id).update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    assert end_expired_leases() == 1

    dead.refresh_from_db()
    assert (dead.status, dead.lease_token) == (Status.PENDING, None)
    run = dead.runs.exclude(id=over.id).get()
    assert (run.outcome, run.finished_at is not None) == ("interrupted", True)
    over.refresh_from_db()
    assert over.outcome == "synced"
    alive.refresh_from_db()
    assert alive.status == Status.SYNCING
    assert alive.runs.get().outcome == ""


def test_shutdown_records_what_was_acknowledged_and_hands_the_lease_back(world: World) -> None:
    App.objects.update(max_in_flight=2)
    world.repo.commit({f"{n:03}": b"1" for n in range(500)})
    world.receiver.answer = at_request(20, STOPPING.set)

    ended = run(world)

    assert ended is not None
    assert ended.outcome == "interrupted"
    sent = len(world.receiver.requests)
    assert 20 <= sent < 500
    assert ended.delivered == ended.requests == sent
    assert sum(row.blob is not None for row in world.ledger().values()) == sent
    assert DeliveryAttempt.objects.count() == sent
    subscription = world.subscription
    assert (subscription.status, subscription.trigger, subscription.retry_count) == ("pending", "sync", 0)
    assert subscription.due_at is not None
    assert subscription.due_at <= timezone.now()

    STOPPING.clear()
    world.receiver.answer = accept
    ended = world.run_when_due()
    assert ended is not None
    assert (ended.outcome, ended.delivered) == ("synced", 500 - sent)
    assert world.client().files == contents(world.repo)


def test_shutdown_does_not_wait_for_an_endpoint_that_hangs(world: World, settings: Settings) -> None:
    settings.STOP_SECONDS = 0.3
    world.repo.commit({"a": b"1"})

    def hang(headers: dict[str, str], body: bytes) -> Reply:
        STOPPING.set()
        return 204, {}, b"", 10.0

    world.receiver.answer = hang
    started = time.monotonic()

    run(world)

    assert time.monotonic() - started < 3
    assert world.ledger()[b"a"].in_doubt
    assert world.subscription.status == Status.PENDING


def test_two_workers_woken_for_one_subscription_run_it_once(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(50)})
    ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC)
    results: list[SyncRun | None] = []

    def worker() -> None:
        results.append(run_subscription(world.id, worker="test"))
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [r.outcome for r in results if r] == ["synced"]
    assert len(world.receiver.requests) == 50
