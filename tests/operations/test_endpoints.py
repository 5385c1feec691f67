"""Operations over endpoints that limit, fail or never answer: every one ends, and says of each item why."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from syncsvc.models import App, Operation, OperationItem, Status, Subscription, SyncRun
from syncsvc.operations import bulk, control
from syncsvc.operations.release import go_on, sweep_operations
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.pipeline import run_job
from syncsvc.sync.scheduler import end_expired_leases, wake_due_subscriptions
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.operations.fleet import (
    ASKER,
    HANDED_BACK,
    RETRY,
    SYNCED,
    adds_up,
    counts,
    end,
    expire_leases,
    fleet,
    is_throttled,
    meets_open_circuit,
)
from tests.outages import open_circuit, throttle
from tests.receiver import OK, Receiver, Reply, Script, accept
from tests.sync.answers import always, files_of
from tests.sync.test_throttling import Limit
from tests.sync.world import World

LONG = {"Retry-After": "600"}


def following(app: App, world: World, count: int) -> list[uuid.UUID]:
    """Failed subscriptions of an app to repositories that all have the same remote."""
    return [
        SubscriptionFactory(app=app, repository=RepositoryFactory(url=str(world.repo.path)), failed=True).id
        for _ in range(count)
    ]


def work() -> list[SyncRun]:
    """As workers and the scheduler do, until nothing is left that may be done at this moment."""
    runs: list[SyncRun] = []
    while True:
        sweep_operations()
        if job := Job.claim_next_released(worker="test"):
            if run := run_job(job, settled=go_on):
                runs.append(run)
            continue
        wake_due_subscriptions()
        return runs


def let_time_pass() -> None:
    """Until each circuit's cool-down and each wait is over."""
    App.objects.filter(circuit_until__isnull=False).update(circuit_until=Now())
    App.objects.filter(throttled_until__isnull=False).update(throttled_until=Now())


def works_off(operation: Operation, most: int) -> int:
    """So many times must time pass until it is over; at most `most`."""
    for times in range(most + 1):
        work()
        operation.refresh_from_db()
        if operation.status == Operation.Status.FINISHED:
            assert adds_up()
            return times
        let_time_pass()
    raise AssertionError(f"{operation.status}: {counts(operation)}")


@pytest.fixture
def app(world: World) -> App:
    """Without a limit of its own for failures in a row; the world's own subscription is not of this."""
    Subscription.objects.filter(id=world.id).delete()
    world.repo.commit({f"{n}": b"1" for n in range(3)})
    return world.app


@pytest.mark.parametrize("status", [429, 503])
def test_a_limited_endpoint_fails_nothing(world: World, app: App, status: int) -> None:
    App.objects.update(max_in_flight=1)
    following(app, world, 6)
    operation = bulk.start(RETRY, ASKER, max_running=4)
    world.receiver.answer = limit = Limit(5, status=status)

    for _ in range(6):
        work()
        operation.refresh_from_db()
        if operation.status == "finished":
            break
        let_time_pass()
        limit.reset()

    assert (counts(operation), operation.status) == ({"succeeded": 6}, "finished")
    assert operation.files == 18
    assert limit.refused < 6


DEAD: dict[str, Script] = {
    "answers 502": always(502),
    "answers 503": always(503, LONG),
    "answers 429": always(429, LONG),
    "hangs": always(204, delay=1),
    "answers 503 to all but pings": lambda headers, body: (503, LONG, b"", 0.0) if files_of(body) else OK,
}


@pytest.mark.parametrize("how", ["answers 502", "answers 503", "hangs"])
def test_a_dead_endpoint_ends_with_reasons_and_the_others_succeed(world: World, app: App, how: str) -> None:
    """One probe that fails is enough for all that waits; of an endpoint that says 503 five waits are not too many."""
    with Receiver(DEAD[how]) as dead:
        gone = AppFactory(name="gone", url=dead.url, timeout=0.1)
        waiting = following(gone, world, 8)
        following(app, world, 4)
        operation = bulk.start(RETRY, ASKER, max_running=8)

        cooldowns = works_off(operation, 8)

    assert counts(operation) == {"succeeded": 4, "failed": 8}
    assert cooldowns <= (6 if how == "answers 503" else 2)
    items = OperationItem.objects.filter(subscription__in=waiting)
    assert all(item.reason and item.error_kind.startswith("endpoint_") for item in items)
    assert len(dead.requests) < 60


def test_an_item_that_waits_for_a_probe_succeeds_where_the_probe_does(world: World, app: App) -> None:
    following(app, world, 4)
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now() + timedelta(hours=1), failure_streak=5)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    assert work() == []
    assert counts(operation) == {"waiting": 4}

    assert works_off(operation, 1) == 1

    assert counts(operation) == {"succeeded": 4}


def test_each_that_waited_says_when_it_is_tried_by_itself(world: World, app: App) -> None:
    """Its own slow try, or the end of the cool-down where that is later; nothing where only an operator tries it."""
    early, late, never, probe = following(app, world, 4)
    later = datetime(2126, 1, 2, 3, 4, 5, tzinfo=UTC)
    Subscription.objects.filter(id=early).update(due_at=Now())
    Subscription.objects.filter(id=late).update(due_at=later)
    open_circuit(app.pk, cooldown=0)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    world.receiver.answer = always(500)
    job = Job.claim(probe, worker="test")
    assert job is not None

    run_job(job, settled=go_on)

    reasons = dict(operation.items.values_list("subscription_id", "reason"))
    until = App.objects.get(id=app.id).circuit_until
    assert until is not None
    assert f"at {until:%Y-%m-%d %H:%M:%S} UTC." in reasons[early]
    assert "at 2126-01-02 03:04:05 UTC." in reasons[late]
    assert "by itself" not in reasons[never]
    assert all("circuit is open" in reasons[id] for id in (early, late, never))


def test_a_run_that_lost_its_lease_gives_nothing_up(world: World, app: App) -> None:
    """What waits is failed with the run's own end, or not at all."""
    following(app, world, 4)
    throttle(app.pk, seconds=0)
    operation = bulk.start(RETRY, ASKER, max_running=1)
    ((id,),) = operation.items.exclude(released_at=None).values_list("subscription_id")
    job = Job.claim(id, worker="test")
    assert job is not None
    ending = is_throttled(job, silent=1e6)
    Subscription.objects.filter(id=id).update(lease_token=uuid.uuid4())

    with pytest.raises(LeaseLostError):
        end(job, ending)

    assert counts(operation) == {"waiting": 3, "running": 1}
    assert adds_up()


def test_what_was_released_and_not_claimed_has_its_answer_with_the_probe_too(world: World, app: App) -> None:
    """Their subscriptions are as they were, and may be asked for again."""
    ids = following(app, world, 8)
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now(), failure_streak=5)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    assert OperationItem.objects.filter(released_at__isnull=False).count() == 8
    world.receiver.answer = always(500)
    job = Job.claim_next_released(worker="test")
    assert job is not None

    run_job(job, settled=go_on)

    operation.refresh_from_db()
    assert (counts(operation), operation.status) == ({"failed": 8}, "finished")
    assert len(world.receiver.requests) == 1
    waiting = Subscription.objects.filter(id__in=ids).exclude(id=job.subscription.id)
    assert set(waiting.values_list("status", "queued_at", "retry_count")) == {("failed", None, 6)}


def test_throttling_without_end_settles_what_waits(world: World, app: App) -> None:
    ids = following(app, world, 10)
    operation = bulk.start(RETRY, ASKER, max_running=4)
    world.receiver.answer = always(429, LONG)
    work()
    assert counts(operation) == {"waiting": 10}
    assert len(world.receiver.requests) <= app.max_in_flight
    App.objects.update(throttled_since=F("throttled_since") - timedelta(hours=1))
    let_time_pass()

    work()

    operation.refresh_from_db()
    assert (counts(operation), operation.status) == ({"failed": 10}, "finished")
    assert set(operation.items.values_list("error_kind", flat=True)) == {"endpoint_throttled"}
    assert all(operation.items.values_list("reason", flat=True))
    assert not Subscription.objects.filter(id__in=ids).exclude(status=Status.FAILED).exists()


@pytest.mark.parametrize("how", DEAD)
def test_an_endpoint_that_never_takes_anything_ends_an_operation_in_time(world: World, app: App, how: str) -> None:
    """Within CIRCUIT_FAIL_AFTER_SECONDS and one wait more: here every wait is ten minutes."""
    App.objects.update(timeout=0.1)
    following(app, world, 4)
    operation = bulk.start(RETRY, ASKER, max_running=2)
    world.receiver.answer = DEAD[how]
    for _ in range(7):
        work()
        operation.refresh_from_db()
        if operation.status == "finished":
            break
        let_time_pass()
        tens = timedelta(minutes=10)
        App.objects.filter(throttled_since__isnull=False).update(throttled_since=F("throttled_since") - tens)
        App.objects.filter(circuit_opened_at__isnull=False).update(circuit_opened_at=F("circuit_opened_at") - tens)

    assert (counts(operation), operation.status) == ({"failed": 4}, "finished")


def test_a_paused_operation_keeps_what_waits_for_a_probe(world: World, app: App) -> None:
    """Its items wait for an operator, not for the endpoint."""
    following(app, world, 3)
    paused = bulk.start(RETRY, ASKER, max_running=1)
    Operation.objects.filter(id=paused.id).update(status=Operation.Status.PAUSED)
    OperationItem.objects.update(released_at=None)
    other = bulk.start(RETRY, ASKER, max_running=1)
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now(), failure_streak=5)
    world.receiver.answer = always(500)

    assert works_off(other, 2) <= 2

    assert (counts(paused), counts(other)) == ({"waiting": 3}, {"failed": 3})


def test_an_endpoint_that_comes_back_between_takes_all(world: World, app: App) -> None:
    following(app, world, 5)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    seen = iter(range(1000))

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        return (429, LONG, b"", 0.0) if next(seen) < 3 else OK

    world.receiver.answer = answer
    work()
    let_time_pass()
    world.receiver.answer = accept

    assert works_off(operation, 2) <= 1
    assert counts(operation) == {"succeeded": 5}


def test_an_item_that_ran_during_the_probe_has_its_answer_as_well(world: World, app: App) -> None:
    """It met the open circuit, and came back to wait when the probe had failed already."""
    following(app, world, 2)
    App.objects.update(circuit_opened_at=Now(), circuit_until=Now(), circuit_openings=1, failure_streak=5)
    operation = bulk.start(RETRY, ASKER, max_running=8)
    world.receiver.answer = always(500)
    probe, other = (Job.claim_next_released(worker="test") for _ in range(2))
    assert probe is not None
    assert other is not None
    met = meets_open_circuit(other)
    run_job(probe, settled=go_on)

    end(other, met)

    operation.refresh_from_db()
    assert (counts(operation), operation.status) == ({"failed": 2}, "finished")


@pytest.mark.parametrize("dies", [False, True])
def test_an_item_that_is_cancelled_after_its_run_was_handed_back_leaves_no_single_retry(
    world: World, app: App, dies: bool
) -> None:
    """An operator's single retry asks an endpoint that is left alone; twenty of an operation must not."""
    (id,) = following(app, world, 1)
    operation = bulk.start(RETRY, ASKER)
    job = Job.claim(id, worker="test")
    assert job is not None
    if dies:
        expire_leases()
        end_expired_leases()
    else:
        end(job, HANDED_BACK)
    control.cancel(operation.id, ASKER)
    throttle(app.pk)

    assert Job.claim(id, worker="test") is None
    assert wake_due_subscriptions() == 0
    App.objects.update(throttled_until=Now())
    assert Job.claim(id, worker="test") is not None


@pytest.mark.django_db(transaction=True)
def test_what_failed_without_a_run_makes_the_ends_of_others_no_dearer() -> None:
    """Failures of an endpoint that is down are no sample: the operation goes on, and refills as seldom as before."""
    rows = fleet(apps=2, each=30)
    operation = bulk.start(RETRY, ASKER, max_running=50, abort_percent=10)
    down = OperationItem.objects.filter(app_id=rows[0].app_id)
    failed = down.update(status=OperationItem.Status.FAILED, released_at=None, settled_at=Now(), reason="Down.")
    Operation.objects.update(waiting=F("waiting") - failed, failed=failed)
    job = Job.claim_next_released(worker="test")
    assert job is not None
    end(job, SYNCED)
    operation.refresh_from_db()
    assert operation.fails_too_much

    with CaptureQueriesContext(connection) as asked:
        go_on(operation)

    assert not [query["sql"] for query in asked if "FOR UPDATE" in query["sql"]]
    assert counts(operation) == {"failed": 30, "succeeded": 1, "waiting": 29}
