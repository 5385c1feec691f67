"""An endpoint that is down is told from bad files, and the end of its outage ends the back-offs."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import App, Status, Subscription, Trigger
from syncsvc.sync import circuit
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from tests.receiver import OK, Reply, accept
from tests.sync.answers import always, files_of, refuses
from tests.sync.test_bad_files import another, app
from tests.sync.world import World


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
    began: list[float] = []

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        began.append(time.monotonic())
        return (502, {}, b"", 0.0) if began[-1] < began[0] + 0.35 else OK

    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", 60)
    assert run.requests > 60


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
