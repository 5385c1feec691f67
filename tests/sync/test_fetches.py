"""A fetch that fails is the repository's failure, asked once for all its apps; a crash keeps a run's counts."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from syncsvc.models import Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.job import Job
from syncsvc.sync.pipeline import run_job, run_subscription
from syncsvc.sync.poll import poll_repository
from tests.factories import AppFactory, SubscriptionFactory
from tests.receiver import OK, Reply
from tests.sync.world import World


def lose_objects(world: World) -> None:
    """The remote has the branch's commit, and lacks its files."""
    for file in (world.repo.path / "objects").glob("[0-9a-f][0-9a-f]/*"):
        if world.repo.head != f"{file.parent.name}{file.name}":
            file.rename(file.with_name(f"lost-{file.name}"))


def find_objects(world: World) -> None:
    for file in (world.repo.path / "objects").glob("[0-9a-f][0-9a-f]/lost-*"):
        file.rename(file.with_name(file.name.removeprefix("lost-")))


def followers(world: World, count: int) -> list[uuid.UUID]:
    return [
        SubscriptionFactory(app=AppFactory(url=world.receiver.url), repository=world.repository).id
        for _ in range(count)
    ]


def run_due(ids: list[uuid.UUID]) -> list[SyncRun]:
    Subscription.objects.filter(id__in=ids).update(due_at=Now())
    runs = [run_subscription(id, worker="test") for id in ids]
    return [run for run in runs if run is not None]


def test_a_commit_that_cannot_be_fetched_is_fetched_once_for_all_apps(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(5)})
    lose_objects(world)
    ids = [world.id, *followers(world, 7)]

    runs = [run for _ in range(3) for run in run_due(ids)]

    repository = Repository.objects.get()
    assert repository.fetch_failures == 1, "one fetch in all"
    assert repository.error_kind.startswith("git_")
    assert repository.failing_since is not None
    assert len(runs) == 24
    assert {run.error_kind for run in runs} == {repository.error_kind}
    rows = Subscription.objects.all()
    assert {row.status for row in rows} <= {Status.PENDING, Status.FAILED}
    assert all(row.last_error for row in rows)


def test_the_wait_doubles_ends_with_a_good_fetch_and_is_not_for_who_asks(world: World) -> None:
    world.repo.commit({"a": b"1"})
    lose_objects(world)
    waits = []
    for _ in range(3):
        Repository.objects.update(fetch_until=Now())
        run_due([world.id])
        repository = Repository.objects.get()
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM fetch_until - now())::float8 FROM syncsvc_repository")
            waits.append(round(cursor.fetchone()[0] / 5))
    assert waits == [1, 2, 4]
    assert world.run(Trigger.SYNC).error_kind == repository.error_kind
    assert Repository.objects.get().fetch_failures == 4, "an operator's sync tries at once"

    find_objects(world)
    Subscription.objects.update(due_at=Now())

    assert world.run(Trigger.SYNC).outcome == "synced"
    repository = Repository.objects.get()
    assert (repository.fetch_failures, repository.unfetchable_commit, repository.error_kind) == (0, "", "")


@pytest.mark.parametrize(("kind", "outcome"), [("git_unreachable", "synced"), ("git_corrupt", "postponed")])
def test_a_fetch_that_met_an_outage_is_tried_as_soon_as_the_remote_answers(
    world: World, kind: str, outcome: str
) -> None:
    """It was put off for longer each time while the forge was down; a damaged commit stays put off."""
    commit, later = world.repo.commit({"a": b"1"}), Now() + timedelta(hours=1)
    Repository.objects.update(
        **{"head_branch": "main", "head_commit": commit, "unfetchable_commit": commit, "fetch_failures": 7},
        **{"fetch_until": later, "failure_streak": 2, "error_kind": kind, "due_at": Now()},
    )
    Subscription.objects.update(error_kind=kind, due_at=later)

    assert poll_repository(world.repository.id)

    run = run_subscription(world.id, worker="test")
    assert run is not None
    assert run.outcome == outcome


def test_a_fetch_that_failed_at_a_remote_that_was_left_says_nothing_of_the_new_one(world: World) -> None:
    world.repo.commit({"a": b"1"})
    lose_objects(world)
    job = Job.claim(world.id, worker="test")
    assert job is not None
    Repository.objects.update(url="https://new.example.com/a/b")
    assert run_job(job) is None, "it is handed back"
    repository = Repository.objects.get()
    assert (repository.fetch_failures, repository.error_kind) == (0, "")


def test_a_newer_commit_is_fetched_although_the_one_before_could_not_be(world: World) -> None:
    world.repo.commit({"a": b"1"})
    lose_objects(world)
    run_due([world.id])
    find_objects(world)
    world.repo.commit({"b": b"2"})

    ask_for_runs(Subscription.objects.all(), Trigger.POLL)
    Repository.objects.update(head_commit=world.repo.head)
    (run,) = run_due([world.id])

    assert run.outcome == "synced"


def test_a_run_that_crashes_keeps_its_counts(world: World) -> None:
    """A bug in the middle: the ledger's constraint is violated by somebody else's hand."""
    world.repo.commit({f"{n:03}": b"1" for n in range(250)})
    count = 0

    def break_the_table(headers: dict[str, str], body: bytes) -> Reply:
        nonlocal count
        count += 1
        if count == 230:
            with connection.cursor() as cursor:
                cursor.execute(
                    "ALTER TABLE syncsvc_deliveryattempt ADD CONSTRAINT broken CHECK (milliseconds < 0) NOT VALID"
                )
            connection.close()
        return OK

    world.receiver.answer = break_the_table
    try:
        run = world.run()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE syncsvc_deliveryattempt DROP CONSTRAINT IF EXISTS broken")

    assert (run.outcome, run.error_kind) == ("postponed", "internal")
    assert run.created == 250
    assert run.delivered > 200
    assert "Traceback" in run.traceback
