"""What fails does not stop the rest: bad files are no bad endpoint, and a bad endpoint is found by few requests."""

import os
import random
import threading
import time
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from syncsvc.models import App, Repository, Status, Subscription, Trigger
from syncsvc.sync import circuit
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.watch import WATCHER
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.receiver import OK, Misbehaviour, Receiver, Reply, accept, reset
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


def test_a_hiccup_costs_a_request(world: World) -> None:
    world.repo.commit({f"{n:03}": b"1" for n in range(300)})
    count = iter(range(10_000))
    answers = [lambda _, body: reset, always(500), always(502), always(408)]

    def answer(headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        number = next(count)
        return answers[number // 20 % 4](headers, body) if number % 20 == 7 else OK  # type: ignore[no-any-return, operator]

    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("synced", 300, 0)
    assert 300 < run.requests < 330
    ids = Counter(request.headers["webhook-id"] for request in world.receiver.requests)
    assert len(ids) == 300, "a second chance is the same message"


def test_a_kinds_second_chances_end_before_the_next_kind_begins(world: World, settings: Settings) -> None:
    settings.RESEND_DELAYS = (0.1, 0.1)
    world.repo.commit({f"{n}": b"1" for n in range(8)})
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({"0": None, "1": b"2", "new": b"1"})
    world.receiver.answer = refuses("0", "new", status=500)

    run = world.run()

    assert [kind for kind, _ in world.told(before)] == [*["file.deleted"] * 3, *["file.created"] * 3, "file.updated"]
    assert (run.delivered, run.failed) == (1, 2)


def test_what_waits_for_its_second_chance_has_not_failed_where_the_run_is_broken_off(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.02)
    settings.RESEND_DELAYS = (30, 30)
    world.repo.commit({"a": b"1", "b": b"1"})

    def pauses(headers: dict[str, str], body: bytes) -> Reply:
        App.objects.update(is_active=False)
        connection.close()
        return refuses("a", status=500)(headers, body)  # type: ignore[return-value]

    world.receiver.answer = pauses

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("interrupted", 1, 0)
    assert (world.subscription.retry_count, world.subscription.failing_since) == (0, None)


def test_what_is_rejected_has_no_second_chance(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.receiver.answer = refuses("a", status=422)

    assert world.run().requests == 2


def test_many_big_bad_files_wait_for_their_second_chance_without_a_git_each(world: World, settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES, settings.RESEND_DELAYS = 1024, (0.3, 0.3)
    before, most = children(), 0

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        nonlocal most
        most = max(most, children() - before)
        bad = any(file.get("chunk", {}).get("index") == 1 for file in files_of(body))
        return (500, {}, b"", 0.0) if bad else OK

    world.repo.commit({f"big{n}": bytes([n]) * 3000 for n in range(12)} | {"small": b"1"})
    world.receiver.answer = answer

    run = world.run()

    assert (run.delivered, run.failed) == (1, 12)
    assert 0 < most <= 3, "two big files, and what reads the small ones"
    indexes = Counter(
        (file["path"], file["chunk"]["index"])
        for request in world.receiver.requests
        for file in files_of(request.body)
        if "chunk" in file
    )
    assert indexes == {(f"big{n}", index): 1 if index == 0 else 3 for n in range(12) for index in (0, 1)}


def children() -> int:
    """Processes of git that this one has."""
    count = 0
    for thread in threading.enumerate():
        try:
            with open(f"/proc/self/task/{thread.native_id}/children") as file:
                count += len(file.read().split())
        except OSError:
            pass
    return count


@pytest.mark.parametrize("status", [500, 429])
def test_a_part_that_meets_409_when_it_is_sent_again_begins_its_file_again_once(
    world: World, settings: Settings, status: int
) -> None:
    """The endpoint had taken it, and answered otherwise."""
    settings.CONTENT_CHUNK_BYTES = 1024
    taken: set[int] = set()

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        index = files_of(body)[0]["chunk"]["index"]
        if index == 0:
            taken.clear()
        if index in taken:
            return 409, {}, b"out of order", 0.0
        taken.add(index)
        return (status, {}, b"", 0.0) if len(world.receiver.requests) == 2 else OK

    world.repo.commit({"big": bytes(range(256)) * 16})
    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.error) == ("synced", "")
    indexes = [file["chunk"]["index"] for r in world.receiver.requests for file in files_of(r.body)]
    assert indexes == [0, 1, 1, 0, 1, 2, 3]


def test_a_file_whose_parts_never_add_up_begins_again_once(world: World, settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"big": bytes(range(256)) * 16, "small": b"1"})
    world.receiver.answer = lambda _, body: (
        (409, {}, b"", 0.0) if any(file.get("chunk", {}).get("index") == 2 for file in files_of(body)) else OK
    )

    run = world.run()

    assert (run.delivered, run.failed, run.requests) == (1, 1, 7)


# The endpoint


def test_a_success_takes_the_stop_of_a_run_back(world: World) -> None:
    """Another run has opened the circuit while a slow request was on its way, which succeeds."""
    App.objects.update(max_in_flight=2)
    world.repo.commit({f"{n:02}": b"1" for n in range(40)} | {"00slow": b"1"})
    opened, up = threading.Event(), threading.Event()

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        if files_of(body)[0]["path"] == "00slow":
            opened.wait(10)
            up.wait(0.2)  # the run has met the open circuit by then
            return OK
        if opened.is_set():
            return OK
        App.objects.update(circuit_opened_at=Now(), circuit_until=Now() + timedelta(hours=1), failure_streak=9)
        connection.close()
        opened.set()
        return 500, {}, b"", 0.0

    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", 41)
    assert app().circuit_opened_at is None


def test_an_endpoint_that_answers_pings_and_nothing_else_is_down_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(circuit, "FRUITLESS_MESSAGES", 60)
    settings.RESEND_DELAYS = (0.01,)
    world.repo.commit({f"{n:03}": b"1" for n in range(500)})
    world.receiver.answer = lambda _, body: (500, {}, b"", 0.0) if files_of(body) else OK

    run = world.run()

    assert app().circuit_opened_at is not None
    assert (run.outcome, run.delivered) == ("postponed", 0)
    assert 60 <= run.failed < 120


def test_an_endpoint_that_answers_nothing_but_pings_in_time_is_down_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "FRUITLESS_SECONDS", 0.5)
    App.objects.update(timeout=0.2)
    world.repo.commit({f"{n:03}": b"1" for n in range(500)})
    world.receiver.answer = lambda _, body: (204, {}, b"", 1.0 if files_of(body) else 0.0)

    run = world.run()

    assert app().circuit_opened_at is not None
    assert run.failed < 200


@pytest.mark.parametrize("in_flight", [1, 16])
@pytest.mark.parametrize("most", [1, 10])
def test_an_endpoint_that_never_answers_is_found_by_few_requests(world: World, in_flight: int, most: int) -> None:
    """Each of them costs a whole time-out."""
    App.objects.update(timeout=0.1, max_in_flight=in_flight, max_batch=most)
    world.repo.commit({f"{n:03}": b"1" for n in range(300)})
    world.receiver.answer = always(204, delay=1)

    run = world.run()

    assert (run.outcome, run.error_kind, run.delivered) == ("postponed", "endpoint_timeout", 0)
    assert run.requests <= 5 + in_flight + 1
    assert app().circuit_opened_at is not None


def test_a_blip_that_is_shorter_than_the_second_chances_opens_nothing(world: World, settings: Settings) -> None:
    """A restart, say: everything is refused for a moment, the ping as well."""
    settings.RESEND_DELAYS = (0.2, 0.4)
    world.repo.commit({f"{n:02}": b"1" for n in range(60)})
    began = time.monotonic()
    world.receiver.answer = lambda _, body: (502, {}, b"", 0.0) if time.monotonic() < began + 0.35 else OK

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", 60)


# Outages


def test_after_an_outage_at_most_the_first_back_off_is_left(world: World, settings: Settings) -> None:
    """Five commits come while the endpoint is down: their tries use none up."""
    settings.RETRY_DELAYS = (5, 30, 120, 600, 1800)
    world.receiver.answer = always(502)
    for number in range(5):
        world.repo.commit({"a": b"%d" % number})
        ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.PUSH)
        run = run_subscription(world.id, worker="test")
        assert run is not None
        assert run.error_kind == "endpoint_error"

    row = world.subscription
    assert (row.retry_count, row.status, app().circuit_opened_at) == (0, Status.PENDING, None)
    assert row.due_at is not None
    assert row.due_at - timezone.now() < timedelta(seconds=6)


def test_the_end_of_an_outage_ends_all_its_back_offs_at_once_and_no_others(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(20)})
    waiting = [another(world, {"a": b"1"}) for _ in range(3)]
    rejected = another(world, {"odd": b"1"})
    world.receiver.answer = refuses("odd", status=422)
    assert run_subscription(rejected, worker="test") is not None
    world.receiver.answer = always(502)
    for id in waiting:
        run_subscription(id, worker="test")
    world.run()
    assert app().circuit_opened_at is not None
    later = timezone.now() + timedelta(minutes=20)
    Subscription.objects.update(due_at=later)
    Subscription.objects.filter(id=waiting[0]).update(status=Status.FAILED)  # it had used its quick retries up
    world.receiver.answer = accept
    App.objects.update(circuit_until=Now())

    assert world.run_when_due().outcome == "synced"  # type: ignore[union-attr]

    due = dict(Subscription.objects.values_list("id", "due_at"))
    assert due[rejected] == later
    assert all(due[id] < timezone.now() + timedelta(seconds=6) for id in waiting)  # type: ignore[operator]


def test_progress_begins_the_tries_again_and_leaves_since_when_it_fails(world: World, settings: Settings) -> None:
    settings.RETRY_DELAYS = (5, 30)
    world.repo.commit({"bad": b"1"})
    world.receiver.answer = refuses("bad")
    for _ in range(3):
        world.run_when_due()
    before = world.subscription
    assert (before.status, before.retry_count) == (Status.FAILED, 2)
    world.repo.commit({"good": b"1"})

    run = world.run()

    after = world.subscription
    assert (run.delivered, run.failed) == (1, 1)
    assert (after.status, after.retry_count) == (Status.PENDING, 1)
    assert after.failing_since == before.failing_since


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
