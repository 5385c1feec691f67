"""What fails does not stop the rest: bad files are no bad endpoint, and a bad endpoint is found by few requests."""

import os
import random
import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from syncsvc.models import App, Repository, Trigger
from syncsvc.sync.pipeline import run_subscription
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.receiver import OK, Misbehaviour, Receiver, Reply, reset
from tests.sync.answers import always, files_of, refuses
from tests.sync.world import World


def app() -> App:
    return App.objects.get()


def another(world: World, files: dict[str, bytes]) -> uuid.UUID:
    """Another repository that the app follows, with these files."""
    repo = GitRepo(world.repo.path.with_name(f"other-{uuid.uuid4()}.git"))
    repo.commit(files)
    id: uuid.UUID = SubscriptionFactory(app=world.app, repository=RepositoryFactory(url=str(repo.path))).id
    return id


def requests_about(world: World, path: str) -> int:
    return sum(file["path"] == path for r in world.receiver.requests for file in files_of(r.body))


# Files


@pytest.mark.parametrize(
    ("bad", "good", "in_flight"),
    [(10, 200, 16), (6, 100, 4), (6, 100, 1), (40, 100, 16), (100, 200, 64), (1, 0, 16), (30, 60, 256)],
)
def test_every_good_file_arrives_in_the_first_run_however_many_bad_ones_come_first(
    world: World, bad: int, good: int, in_flight: int
) -> None:
    App.objects.update(max_in_flight=in_flight)
    names = [f"a/{n:03}" for n in range(bad)]
    world.repo.commit(dict.fromkeys(names, b"1") | {f"b/{n:03}": b"1" for n in range(good)})
    world.receiver.answer = refuses(*names, status=500)

    run = world.run()

    assert (run.delivered, run.failed, run.outcome) == (good, bad, "postponed")
    assert app().circuit_opened_at is None
    assert {requests_about(world, name) for name in names} == {3}, "each had its second chances"


def test_a_whole_folder_of_bad_files_does_not_stop_the_rest(world: World) -> None:
    """More than a run has loaded when it begins to doubt: it goes on with files from all over the plan."""
    names = [f"a/{n:04}" for n in range(650)]
    world.repo.commit(dict.fromkeys(names, b"1") | {f"b/{n:04}": b"1" for n in range(850)})
    world.receiver.answer = refuses(*names, status=500)

    run = world.run()

    assert (run.delivered, run.failed) == (850, 650)


def test_what_failed_last_time_goes_last(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n:02}": b"1" for n in range(20)})
    world.receiver.answer = refuses("03", "11", status=500)
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({f"new{n}": b"1" for n in range(10)})

    world.run_when_due()

    told = [path for _, path in world.told(before)]
    assert sorted(told[:10]) == [f"new{n}" for n in range(10)]
    assert set(told[10:]) == {"03", "11"}


def test_one_bad_file_and_five_presses_of_retry_leave_the_app_alone(world: World) -> None:
    world.repo.commit({"bad": b"1"})
    other = another(world, {f"{n}": b"1" for n in range(5)})
    world.receiver.answer = refuses("bad", status=500)
    world.run()
    for _ in range(5):
        assert world.run(Trigger.RETRY).error_kind == "endpoint_error"
    assert (app().failure_streak, app().circuit_opened_at) == (1, None)

    run = run_subscription(other, worker="test")

    assert run is not None
    assert (run.outcome, run.requests) == ("synced", 5)


def test_bad_files_of_many_repositories_do_not_add_up_to_an_outage(world: World) -> None:
    """Five different messages have failed in a row, and no other is left: a ping tells that the endpoint answers."""
    world.receiver.answer = refuses("bad", status=500)
    ids = [another(world, {"bad": b"%d" % n}) for n in range(7)]

    for id in ids:
        assert run_subscription(id, worker="test").error_kind == "endpoint_error"  # type: ignore[union-attr]

    assert app().circuit_opened_at is None
    kinds = Counter(event["type"] for event in world.events())
    assert kinds["ping"] == 1


def test_a_batch_with_a_file_that_hangs_does_not_stop_the_rest(world: World) -> None:
    """Each batch has one: all time out before anything has succeeded."""
    App.objects.update(max_batch=10, timeout=0.3)
    bad = [f"{n:02}" for n in range(0, 40, 10)]
    world.repo.commit({f"{n:02}": b"1" for n in range(40)})
    hangs = always(204, delay=1)
    world.receiver.answer = lambda headers, body: (
        hangs(headers, body) if any(file["path"] in bad for file in files_of(body)) else OK
    )

    run = world.run()

    assert (run.delivered, run.failed, run.error_kind) == (36, 4, "endpoint_timeout")


def test_a_file_that_hangs_alone_is_not_asked_for_again(world: World) -> None:
    """Nothing else of the run succeeded: an endpoint that does not answer is not asked again."""
    App.objects.update(timeout=0.2)
    world.repo.commit({"a": b"1", "b": b"1"})
    world.receiver.answer = always(204, delay=1)

    run = world.run()

    assert (run.requests, run.failed, run.error_kind) == (2, 2, "endpoint_timeout")


def test_what_timed_out_first_is_sent_again_when_the_endpoint_has_woken_up(world: World) -> None:
    App.objects.update(timeout=0.3, max_in_flight=4)
    world.repo.commit({f"{n}": b"1" for n in range(8)})
    world.receiver.answer = lambda _, body: (204, {}, b"", 1.0 if len(world.receiver.requests) <= 3 else 0.0)

    run = world.run()

    assert (run.outcome, run.delivered, run.requests) == ("synced", 8, 11)


# The endpoint


# The promise


BAD = ("500", "422", "408", "reset", "hang")
scenes = st.fixed_dictionaries(
    {
        "good": st.integers(4, 40),
        "in_flight": st.sampled_from([1, 2, 4, 16]),
        "batch": st.sampled_from([1, 1, 5]),
        "big": st.booleans(),
        "kinds": st.lists(st.sampled_from(BAD), min_size=1, max_size=20),
        "seed": st.integers(0, 1000),
    }
)


def _bad_answer(kind: str) -> Reply | Misbehaviour:
    match kind:
        case "reset":
            return reset
        case "hang":
            return 204, {}, b"", 0.8
    return int(kind), {}, b"", 0.0


@pytest.mark.django_db(transaction=True)
def test_the_promise_what_fails_does_not_stop_the_rest(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    settings.CONTENT_CHUNK_BYTES = 2048

    examples = int(os.environ.get("PROMISE_EXAMPLES", "6"))

    @hypothesis_settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(scene=scenes)
    def every_other_file_arrives(scene: dict[str, object]) -> None:
        App.objects.all().delete()
        Repository.objects.all().delete()
        with Receiver() as receiver:
            _check(World(tmp_path_factory.mktemp("promise"), receiver), scene)

    every_other_file_arrives()


def _check(world: World, scene: dict[str, object]) -> None:
    good, kinds, seed = scene["good"], scene["kinds"], scene["seed"]
    assert isinstance(good, int)
    assert isinstance(kinds, list)
    assert isinstance(seed, int)
    order = random.Random(seed)
    numbers = list(range(good + min(len(kinds), good // 2)))
    order.shuffle(numbers)
    bad = {f"f{number:02}": kind for number, kind in zip(numbers, kinds[: good // 2], strict=False)}
    sizes = [3, 5000 if scene["big"] else 200]
    world.repo.commit({f"f{number:02}": b"%02d" % number * order.choice(sizes) for number in numbers})
    App.objects.update(max_in_flight=scene["in_flight"], max_batch=scene["batch"], timeout=0.4)

    def answer(headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        found = [bad[file["path"]] for file in files_of(body) if file["path"] in bad]
        return _bad_answer(found[0]) if found else OK

    world.receiver.answer = answer

    run = world.run()

    assert (run.delivered, run.failed) == (good, len(bad))
    in_doubt = {path.decode() for path, row in world.ledger().items() if row.in_doubt}
    assert in_doubt == bad.keys()
    assert App.objects.get().circuit_opened_at is None
