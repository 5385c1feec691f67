"""Fairness: one app does not take all the slots of a worker while others wait."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from config.celery import app as celery
from syncsvc.models import App, Operation, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import go_on, release
from syncsvc.operations.scope import Scope
from syncsvc.stopping import STOPPING
from syncsvc.store.operations import pause_operation
from syncsvc.sync.ending import HandedBack
from syncsvc.sync.job import Job
from syncsvc.sync.poll import poll_repository
from syncsvc.sync.rooms import Rooms
from syncsvc.sync.settle import settle
from syncsvc.sync.slots import Slots
from syncsvc.sync.turn import TurnPolicy
from syncsvc.wakeup import queue_name
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.receiver import OK, Receiver, Reply
from tests.sync.world import World


class Worker:
    """Threads of one worker process; the world's app does not answer before `let_go`."""

    def __init__(self, world: World) -> None:
        # Every run counts as a short one, for as long as the test likes.
        self.world, self.slots = world, Slots(Rooms(long_after=60))
        self._go = threading.Event()
        self._threads: list[threading.Thread] = []
        world.receiver.answer = self._hang

    def take(self, *ids: uuid.UUID) -> None:
        """A message each, to a thread each."""
        for id in ids:
            thread = threading.Thread(target=self._work, args=[id])
            self._threads.append(thread)
            thread.start()

    def take_released(self, wake_ups: int) -> None:
        """So many wake-ups for what operations have released, to a thread each."""
        for _ in range(wake_ups):
            thread = threading.Thread(target=self._work_released)
            self._threads.append(thread)
            thread.start()

    def answer_in(self, seconds: float) -> None:
        """From now on every request is answered after so long."""
        self.world.receiver.answer = lambda headers, body: (204, {}, b"", seconds)

    @property
    def at_work(self) -> int:
        """Threads whose wake-up has found a slot."""
        return sum(thread.is_alive() for thread in self._threads)

    def let_go(self) -> None:
        self._go.set()
        for thread in self._threads:
            thread.join(20)

    def _work(self, id: uuid.UUID) -> None:
        self.slots.run(id, worker="test", settled=go_on)
        connection.close()

    def _work_released(self) -> None:
        self.slots.run_released(worker="test", settled=go_on)
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
    worker.answer_in(0)  # runs that still go on end soon
    worker.let_go()
    STOPPING.clear()


def follow(app: App, world: World, count: int) -> list[uuid.UUID]:
    """Of repositories that were polled before, and of an app that has had short runs."""
    now = timezone.now()
    subscriptions = [
        SubscriptionFactory(app=app, repository=RepositoryFactory(url=str(world.repo.path), checked_at=now))
        for _ in range(count)
    ]
    SyncRun.objects.bulk_create(
        SyncRun(subscription=row, trigger=Trigger.POLL, epoch=1, outcome="synced", started_at=now, finished_at=now)
        for row in subscriptions
    )
    return [row.id for row in subscriptions]


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


def retry_in_bulk(world: World, apps: int, each: int = 1) -> tuple[Operation, list[uuid.UUID]]:
    """An operation over failed subscriptions of apps whose endpoints hang."""
    made = [AppFactory(url=world.receiver.url) for _ in range(apps)]
    ids = [id for app in made for id in follow(app, world, each)]
    Subscription.objects.update(status=Status.FAILED, due_at=None)
    asker = Asker(name="a test", source=Operation.Source.COMMAND)
    return bulk.start(Scope(kind=Operation.Kind.RETRY), asker), ids


def wake_ups(queue: str = "bulk.0") -> int:
    """Takes the wake-ups from the queue, that of released items by default; their number."""
    with celery.connection_for_read() as broker, broker.channel().client.pipeline(transaction=True) as pipeline:
        found, _ = pipeline.llen(queue).delete(queue).execute()
    return int(found)


def terminate(backend: int) -> None:
    """As a restart of the database does, by a connection of its own."""

    def kill() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
        connection.close()

    thread = threading.Thread(target=kill)
    thread.start()
    thread.join()


def test_bulk_runs_have_at_most_half_of_the_slots_and_live_ones_pass_them(world: World, worker: Worker) -> None:
    operation, in_bulk = retry_in_bulk(world, apps=6)
    live = follow(AppFactory(url=world.receiver.url), world, 1)

    worker.take_released(6)
    wait_until(lambda: len(with_status(Status.SYNCING)) == 4)
    worker.take(*live)
    wait_until(lambda: with_status(Status.SYNCING) >= set(live))
    assert len(with_status(Status.SYNCING) & set(in_bulk)) == 4

    worker.let_go()
    operation.refresh_from_db()
    assert operation.succeeded == 6


def test_a_wake_up_for_a_released_one_begins_bulk_work_whichever_queue_it_came_by(world: World, worker: Worker) -> None:
    operation, in_bulk = retry_in_bulk(world, apps=3)
    worker.take(in_bulk[0])
    wait_until(lambda: len(with_status(Status.SYNCING)) == 1)

    worker.let_go()

    operation.refresh_from_db()
    assert operation.succeeded == 3


def test_a_wake_up_that_found_no_room_is_made_good_by_the_slot_that_ends(world: World, worker: Worker) -> None:
    operation, _ = retry_in_bulk(world, apps=5)
    pause_operation(operation.id)
    Operation.objects.resume(operation.id)
    Operation.objects.filter(id=operation.id).update(max_running=4)
    release(operation.id)
    worker.take_released(4)
    wait_until(lambda: len(with_status(Status.SYNCING)) == 4)

    worker.slots.run_released(worker="test", settled=go_on)  # returns at once
    worker.let_go()

    operation.refresh_from_db()
    assert operation.succeeded == 5


def test_bulk_runs_of_an_app_take_a_quarter_of_the_slots_while_other_apps_wait(world: World, worker: Worker) -> None:
    _, in_bulk = retry_in_bulk(world, apps=3, each=4)
    apps = dict(Subscription.objects.values_list("id", "app_id"))

    worker.take_released(4)
    wait_until(lambda: len(with_status(Status.SYNCING)) == 4)

    assert max(Counter(apps[id] for id in with_status(Status.SYNCING)).values()) <= 2
    assert len(in_bulk) == 12


def test_a_worker_of_one_slot_gives_it_up_after_each_released_item(
    world: World, worker: Worker, settings: Settings
) -> None:
    settings.WORKER_THREADS = 1
    operation, _ = retry_in_bulk(world, apps=2)
    worker.let_go()

    wake_ups()
    worker.slots.run_released(worker="test", settled=go_on)
    operation.refresh_from_db()
    assert (operation.succeeded, operation.waiting) == (1, 1)
    assert wake_ups() == 1  # for the next one; with more an item there would be ever more of them

    worker.slots.run_released(worker="test", settled=go_on)
    operation.refresh_from_db()
    assert operation.succeeded == 2


def test_a_restart_of_the_database_between_two_released_items_does_not_end_the_slot(
    world: World, worker: Worker
) -> None:
    operation, _ = retry_in_bulk(world, apps=3)
    worker.let_go()

    def restart(_: Operation) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            terminate(cursor.fetchone()[0])

    worker.slots.run_released(worker="test", settled=restart)

    operation.refresh_from_db()
    assert operation.succeeded == 3


def test_what_an_end_leads_to_may_meet_a_database_that_is_away(world: World, worker: Worker) -> None:
    operation, _ = retry_in_bulk(world, apps=3)
    worker.let_go()

    def away(_: Operation) -> None:
        raise OperationalError("the connection is lost")

    worker.slots.run_released(worker="test", settled=away)

    operation.refresh_from_db()
    assert operation.succeeded == 3


def test_a_stopping_worker_wakes_another_for_what_is_released(world: World, worker: Worker) -> None:
    operation, _ = retry_in_bulk(world, apps=3)
    worker.let_go()

    def stop(_: Operation) -> None:
        STOPPING.set()
        wake_ups()

    worker.slots.run_released(worker="test", settled=stop)

    operation.refresh_from_db()
    assert (operation.succeeded, wake_ups()) == (1, 1)


def test_a_released_item_whose_mirror_nobody_fetched_after_all_is_claimed_when_it_is_due(
    world: World, worker: Worker
) -> None:
    retry_in_bulk(world, apps=1)
    job = Job.claim_next_released(worker="test")
    assert job is not None
    settle(job, HandedBack(delay=30, awaits_fetch=True), go_on)
    assert Job.claim_next_released(worker="test") is None

    Subscription.objects.update(due_at=Now())

    assert Job.claim_next_released(worker="test") is not None


def test_only_what_was_released_in_its_shards_is_claimed_for_a_worker(
    world: World, worker: Worker, settings: Settings
) -> None:
    _, in_bulk = retry_in_bulk(world, apps=8)
    settings.SYNC_QUEUES = 2
    queues = dict(Subscription.objects.values_list("id", "repository_id"))

    claimed = set()
    while job := Job.claim_next_released(worker="test", shards=[1]):
        claimed.add(job.subscription.id)

    assert claimed == {id for id in in_bulk if queue_name("bulk", queues[id]) == "bulk.1"}


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


def test_a_run_that_takes_long_leaves_its_slot_to_what_was_left(world: World, worker: Worker) -> None:
    seconds_passed = 0
    worker.slots = Slots(Rooms(long_after=60, clock=lambda: time.monotonic() + seconds_passed))
    many = follow(world.app, world, 8)
    wake_ups("live.0")

    worker.take(*many)
    wait_until(lambda: worker.at_work == 6 and worker.slots.rooms.counts() == (6, 0))
    seconds_passed = 60
    wait_until(lambda: worker.slots.rooms.counts() == (4, 2))  # a quarter of the long room is the app's

    assert len(with_status(Status.SYNCING)) == 6
    woken = 0

    def both_are_woken() -> bool:
        """One by one, or both at once."""
        nonlocal woken
        woken += wake_ups("live.0")
        return woken == 2

    wait_until(both_are_woken)


def test_a_run_is_handed_back_when_the_branch_has_moved_on_and_the_next_one_goes_on_from_there(
    world: World, worker: Worker
) -> None:
    world.repo.commit({f"file-{n}": b"1" for n in range(40)})
    (id,) = follow(world.app, world, 1)
    worker.slots = Slots(policy=TurnPolicy(least=0.1))
    worker.answer_in(0.1)
    App.objects.update(max_in_flight=1)

    worker.take(id)
    world.receiver.wait_for(3)
    world.repo.commit({"file-40": b"1"})
    poll_repository(Subscription.objects.get(id=id).repository_id)
    wait_until(lambda: with_status(Status.PENDING) == {id})

    handed_back = SyncRun.objects.get(subscription=id, outcome="interrupted")
    assert handed_back.outcome == SyncRun.Outcome.INTERRUPTED
    assert 0 < handed_back.delivered < 41
    assert "moved" in handed_back.error

    worker.answer_in(0)
    worker.take(id)
    wait_until(lambda: with_status(Status.SYNCED) == {id})
    assert world.receiver.handled == 42  # each file once, the new one and that of the fixture


def test_the_oldest_run_is_handed_back_for_another_that_finds_no_slot(
    world: World, worker: Worker, settings: Settings
) -> None:
    """One short and one long slot, both taken by runs that send; a third is due and was left."""
    settings.WORKER_THREADS = 1
    world.repo.commit({f"file-{n}": b"1" for n in range(60)})
    apps = [AppFactory(url=world.receiver.url, max_in_flight=1) for _ in range(3)]
    first, second, third = [follow(app, world, 1)[0] for app in apps]
    worker.slots = Slots(Rooms(long_after=0.1), policy=TurnPolicy(least=0.1))
    worker.answer_in(0.1)
    Subscription.objects.filter(id=third).update(due_at=Now() - timedelta(seconds=10))

    worker.take(first)
    wait_until(lambda: worker.slots.rooms.counts() == (0, 1))
    worker.take(second)
    wait_until(lambda: worker.slots.rooms.counts() == (1, 1))
    worker.take(third)

    wait_until(lambda: SyncRun.objects.filter(outcome="interrupted").exists())
    handed_back = SyncRun.objects.filter(outcome="interrupted").earliest("finished_at")
    assert handed_back.subscription_id == first
    assert handed_back.delivered > 0
    assert "slot" in handed_back.error


def test_a_run_that_nobody_waits_for_keeps_its_slot(world: World, worker: Worker) -> None:
    world.repo.commit({f"file-{n}": b"1" for n in range(30)})
    (id,) = follow(AppFactory(url=world.receiver.url, max_in_flight=1), world, 1)
    worker.slots = Slots(Rooms(long_after=0.1), policy=TurnPolicy(least=0.1))
    worker.answer_in(0.1)

    worker.take(id)
    wait_until(lambda: with_status(Status.SYNCED) == {id})

    assert list(SyncRun.objects.exclude(delivered=0).values_list("outcome", "delivered")) == [("synced", 31)]


def test_an_item_that_was_handed_back_keeps_the_files_it_delivered(world: World, worker: Worker) -> None:
    world.repo.commit({f"file-{n}": b"1" for n in range(40)})
    operation, (id,) = retry_in_bulk(world, apps=1)
    App.objects.update(max_in_flight=1)
    worker.slots = Slots(policy=TurnPolicy(least=0.1))
    worker.answer_in(0.1)

    worker.take_released(1)
    world.receiver.wait_for(3)
    world.repo.commit({"file-40": b"1"})
    Repository.objects.update(due_at=Now())
    poll_repository(Subscription.objects.get(id=id).repository_id)
    wait_until(lambda: SyncRun.objects.filter(outcome="interrupted").exists())
    worker.answer_in(0)
    wait_until(lambda: with_status(Status.SYNCED) == {id})

    operation.refresh_from_db()
    assert (operation.succeeded, operation.files) == (1, 42)


def test_previews_and_other_work_move_to_the_long_room_as_runs_do(worker: Worker) -> None:
    slots = Slots(Rooms(long_after=0.1))
    with slots.other_work():
        assert slots.rooms.counts() == (1, 0)
        wait_until(lambda: slots.rooms.counts() == (0, 1))
    assert slots.rooms.counts() == (0, 0)


@pytest.mark.parametrize(("seconds", "room"), [(90, (0, 1)), (13, (1, 0)), (None, (0, 1))])
def test_a_worker_that_has_just_begun_knows_from_the_last_run_which_app_may_be_slow(
    world: World, worker: Worker, seconds: int | None, room: tuple[int, int]
) -> None:
    """A run counts as long here after 60 s. None: the app had no run yet."""
    (id,) = follow(world.app, world, 1)
    if seconds is None:
        SyncRun.objects.all().delete()
    else:
        SyncRun.objects.update(finished_at=F("started_at") + timedelta(seconds=seconds))

    worker.take(id)

    wait_until(lambda: bool(world.receiver.requests))
    assert worker.slots.rooms.counts() == room
