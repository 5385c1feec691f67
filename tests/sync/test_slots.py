"""Fairness: one app does not take all the slots of a worker while others wait."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from syncsvc.models import App, Operation, Status, Subscription
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import go_on
from syncsvc.operations.scope import Scope
from syncsvc.stopping import STOPPING
from syncsvc.sync.slots import Slots
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.receiver import OK, Receiver, Reply
from tests.sync.world import World


class Worker:
    """Threads of one worker process; the world's app does not answer before `let_go`."""

    def __init__(self, world: World) -> None:
        self.world, self.slots = world, Slots()
        self._go = threading.Event()
        self._threads: list[threading.Thread] = []
        world.receiver.answer = self._hang

    def take(self, *ids: uuid.UUID) -> None:
        """A message each, to a thread each."""
        for id in ids:
            thread = threading.Thread(target=self._work, args=[id])
            self._threads.append(thread)
            thread.start()

    def let_go(self) -> None:
        self._go.set()
        for thread in self._threads:
            thread.join(20)

    def _work(self, id: uuid.UUID) -> None:
        self.slots.run(id, worker="test", settled=go_on)
        connection.close()

    def _hang(self, headers: dict[str, str], body: bytes) -> Reply:
        self._go.wait(20)
        return OK


@pytest.fixture
def worker(world: World, settings: Settings) -> Iterator[Worker]:
    settings.WORKER_THREADS = 8
    world.repo.commit({"a": b"1"})
    Subscription.objects.all().delete()
    worker = Worker(world)
    yield worker
    worker.let_go()
    STOPPING.clear()


def follow(app: App, world: World, count: int) -> list[uuid.UUID]:
    return [
        SubscriptionFactory(app=app, repository=RepositoryFactory(url=str(world.repo.path))).id for _ in range(count)
    ]


def with_status(status: Status) -> set[uuid.UUID]:
    return set(Subscription.objects.filter(status=status).values_list("id", flat=True))


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_app_has_at_most_a_quarter_of_the_slots_while_others_wait(world: World, worker: Worker) -> None:
    with Receiver() as quick:
        waiting = follow(AppFactory(url=quick.url), world, 1)
        many = follow(world.app, world, 5)

        worker.take(*many[:2])
        wait_until(lambda: len(with_status(Status.SYNCING)) == 2)
        worker.take(many[2])
        # The slot that the third one does not get takes what waits instead.
        wait_until(lambda: with_status(Status.SYNCED) == set(waiting))

        assert with_status(Status.SYNCING) >= set(many[:2])
        assert len(with_status(Status.SYNCING)) <= 3


def test_an_app_has_up_to_three_quarters_of_the_slots_where_nobody_else_waits(world: World, worker: Worker) -> None:
    many = follow(world.app, world, 8)

    worker.take(*many)
    wait_until(lambda: len(with_status(Status.SYNCING)) == 6)
    time.sleep(0.2)

    assert len(with_status(Status.SYNCING)) == 6
    assert len(with_status(Status.PENDING)) == 2


def test_what_was_left_is_taken_by_the_next_free_slot(world: World, worker: Worker) -> None:
    many = follow(world.app, world, 8)
    worker.take(*many)
    wait_until(lambda: len(with_status(Status.SYNCING)) == 6)

    worker.let_go()

    assert with_status(Status.SYNCED) == set(many)


def test_a_slot_that_finds_no_room_for_its_app_does_not_spin(world: World, worker: Worker) -> None:
    many = follow(world.app, world, 7)
    worker.take(*many[:6])
    wait_until(lambda: len(with_status(Status.SYNCING)) == 6)

    with CaptureQueriesContext(connection) as queries:
        worker.slots.run(many[6], worker="test", settled=go_on)

    assert len(queries) < 10
    assert with_status(Status.PENDING) == {many[6]}


def test_bulk_runs_have_at_most_half_of_the_slots_and_live_ones_pass_them(world: World, worker: Worker) -> None:
    apps = [AppFactory(url=world.receiver.url) for _ in range(6)]
    in_bulk = [id for app in apps for id in follow(app, world, 1)]
    Subscription.objects.update(status=Status.FAILED, due_at=None)
    operation = bulk.start(Scope(kind=Operation.Kind.RETRY), Asker(name="a test", source=Operation.Source.COMMAND))
    live = follow(AppFactory(url=world.receiver.url), world, 1)

    worker.take(*in_bulk)
    # Two of the six find no room; what they leave lets the live one by.
    wait_until(lambda: with_status(Status.SYNCING) >= set(live))
    assert len(with_status(Status.SYNCING) & set(in_bulk)) == 4

    worker.let_go()
    operation.refresh_from_db()
    assert operation.succeeded == 6


def test_a_stopping_worker_takes_nothing_that_was_left(world: World, worker: Worker) -> None:
    many = follow(world.app, world, 7)
    worker.take(*many)
    wait_until(lambda: len(with_status(Status.SYNCING)) == 6)
    STOPPING.set()

    worker.let_go()

    assert len(with_status(Status.PENDING)) >= 1
    assert not with_status(Status.SYNCING)


def test_a_message_for_what_is_gone_or_not_due_does_nothing(world: World, worker: Worker) -> None:
    (id,) = follow(world.app, world, 1)
    Subscription.objects.update(status="synced", due_at=None)

    worker.slots.run(uuid.uuid4(), worker="test", settled=go_on)
    worker.slots.run(id, worker="test", settled=go_on)

    assert with_status(Status.SYNCED) == {id}
