"""Quick tries with back-off, then failed with a slow try; what is permanent fails at once."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import App, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from tests.delivery.authority import Authority
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.receiver import Receiver, accept, reset
from tests.sync.answers import always, in_turn, refuses
from tests.sync.world import World


def seconds_until_due(world: World) -> float:
    due_at = world.subscription.due_at
    assert due_at is not None
    return (due_at - timezone.now()).total_seconds()


def test_quick_tries_are_used_up_then_it_is_failed_with_a_slow_try_each_hour(world: World, settings: Settings) -> None:
    settings.RETRY_DELAYS, settings.RETRY_SLOW_SECONDS = (5, 30, 120), 3600
    world.repo.commit({"a": b"1"})
    world.receiver.answer = refuses("a")
    seen = []
    for _ in range(5):
        run = world.run() if not seen else world.run_when_due()
        assert run is not None
        due = seconds_until_due(world)
        nominal = [5, 30, 120, 3600, 3600][len(seen)]
        assert nominal * 0.8 - 2 <= due <= nominal * 1.2
        seen.append((run.outcome, world.subscription.status, world.subscription.retry_count))

    assert seen == [
        ("postponed", "pending", 1),
        ("postponed", "pending", 2),
        ("postponed", "pending", 3),
        ("failed", "failed", 3),
        ("failed", "failed", 3),
    ]


def test_the_slow_try_heals_by_itself(world: World, settings: Settings) -> None:
    settings.RETRY_DELAYS = ()
    world.repo.commit({"a": b"1"})
    world.receiver.answer = refuses("a")
    assert world.run().outcome == "failed"
    world.receiver.answer = accept

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.trigger, world.subscription.status) == ("synced", "back_off", Status.SYNCED)
    assert world.subscription.retry_count == 0


def test_delays_are_spread_so_that_those_that_failed_together_do_not_come_back_together(
    world: World, settings: Settings
) -> None:
    settings.RETRY_DELAYS, settings.RETRY_JITTER_PERCENT = (1000,) * 10, 20
    world.repo.commit({"a": b"1"})
    world.receiver.answer = refuses("a")
    world.run()
    delays = [seconds_until_due(world)]
    for _ in range(7):
        world.run_when_due()
        delays.append(seconds_until_due(world))

    assert all(795 <= delay <= 1200 for delay in delays)
    assert len({round(delay) for delay in delays}) > 3


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_and_no_file_is_sent_after_it(world: World, settings: Settings, status: int) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n}": b"1" for n in range(20)})
    world.receiver.answer = in_turn(accept, accept, always(status, {"Retry-After": "600"}))

    run = world.run()

    assert (run.outcome, run.error_kind) == ("postponed", "endpoint_throttled")
    assert (run.requests, run.delivered, run.failed) == (3, 2, 0)
    assert 595 <= seconds_until_due(world) <= 600, "exactly as long as it asked for"


def test_retry_after_is_capped(world: World, settings: Settings) -> None:
    settings.RETRY_AFTER_MAX_SECONDS = 100
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(429, {"Retry-After": "86400"})

    world.run()

    assert 95 <= seconds_until_due(world) <= 100


def test_retry_after_holds_even_where_somebody_asked_meanwhile_for_another_run(world: World) -> None:
    world.repo.commit({"a": b"1"})

    def ask_and_throttle(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes, float]:
        Subscription.objects.filter(id=world.id).update(run_again=True)
        connection.close()
        return 429, {"Retry-After": "600"}, b"", 0.0

    world.receiver.answer = ask_and_throttle

    world.run()

    assert seconds_until_due(world) > 590


def test_throttling_by_429_says_nothing_against_the_endpoint_but_503_does(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(503, {"Retry-After": "60"})
    world.run()
    assert App.objects.get().failure_streak == 1

    world.receiver.answer = always(429, {"Retry-After": "60"})
    world.run_when_due()

    assert App.objects.get().failure_streak == 0


def test_410_fails_at_once_pauses_the_app_with_the_reason_and_sends_nothing_more(world: World) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    world.receiver.answer = in_turn(accept, always(410))

    run = world.run()

    assert (run.outcome, run.error_kind, run.requests) == ("failed", "endpoint_gone", 2)
    subscription = world.subscription
    assert (subscription.status, subscription.error_kind, subscription.paused) == ("failed", "endpoint_gone", True)
    app = App.objects.get()
    assert not app.is_active
    assert "410" in app.pause_reason
    ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC)
    assert run_subscription(world.id, worker="test") is None


def test_an_app_that_is_gone_has_everything_it_missed_when_it_is_resumed(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(10)})
    world.receiver.answer = always(410)
    world.run()
    world.receiver.answer = accept
    App.objects.update(is_active=True, pause_reason="")

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", 10)


def test_an_address_that_is_not_allowed_fails_at_once_and_no_connection_is_made(
    world: World, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    world.repo.commit({f"{n}": b"1" for n in range(100)})

    run = world.run()

    assert (run.outcome, run.error_kind, run.delivered) == ("failed", "endpoint_forbidden_address", 0)
    assert run.requests <= world.app.max_in_flight
    assert world.receiver.connections == 0
    assert world.subscription.status == Status.FAILED
    assert 3600 * 0.8 - 2 <= seconds_until_due(world) <= 3600 * 1.2


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("endpoint_error", always(500)),
        ("endpoint_rejected", always(302, {"Location": "/elsewhere"})),
        ("endpoint_timeout", always(408)),
        ("endpoint_timeout", always(204, delay=5)),
        ("endpoint_unreachable", lambda headers, body: reset),
    ],
)
def test_what_went_wrong_stands_with_the_subscription_the_run_and_the_attempt(
    world: World, settings: Settings, kind: str, answer: object
) -> None:
    settings.WEBHOOK_TIMEOUT = 0.3
    world.repo.commit({"a": b"1"})
    world.receiver.answer = answer  # type: ignore[assignment]

    run = world.run()

    kinds = set(run.attempts.values_list("error_kind", flat=True))
    assert {run.error_kind, world.subscription.error_kind, *kinds} == {kind}
    assert run.outcome == "postponed"
    assert world.subscription.last_error == run.error


def test_an_endpoint_whose_certificate_cannot_be_verified_is_told_apart(world: World, tmp_path: Path) -> None:
    world.repo.commit({"a": b"1"})
    with Receiver(tls=Authority(tmp_path).server()) as unknown:
        App.objects.update(url=unknown.url)
        run = world.run()

    assert (run.outcome, run.error_kind) == ("postponed", "endpoint_tls")


def test_an_error_of_syncsvc_itself_ends_the_run_not_the_worker_and_keeps_its_traceback(
    world: World, settings: Settings
) -> None:
    settings.MASS_DELETE_MINIMUM = "no number"
    world.repo.commit({"a": b"1"})

    run = world.run()

    assert (run.outcome, run.error_kind) == ("postponed", "internal")
    assert "TypeError" in run.error
    assert "Traceback" in run.traceback
    assert world.subscription.status == Status.PENDING


def test_a_permanent_kind_of_git_fails_at_once(world: World) -> None:
    Repository.objects.update(branch="nowhere")
    world.repo.commit({"a": b"1"})

    run = world.run()

    assert (run.outcome, run.error_kind, world.subscription.status) == ("failed", "git_not_found", Status.FAILED)


def test_a_run_that_ends_well_on_one_subscription_leaves_the_others_failures_alone(world: World) -> None:
    other_repo = GitRepo(world.repo.path.parent / "other.git")
    other_repo.commit({"x": b"1"})
    other = SubscriptionFactory(
        app=AppFactory(url=world.receiver.url), repository=RepositoryFactory(url=str(other_repo.path)), failed=True
    )
    world.repo.commit({"a": b"1"})

    world.run()

    other.refresh_from_db()
    assert (other.status, other.error_kind) == (Status.FAILED, "endpoint_error")
    assert SyncRun.objects.count() == 1


def test_failing_since_stays_the_beginning_of_the_streak(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.receiver.answer = refuses("a")
    world.run()
    since = world.subscription.failing_since
    world.run_when_due()

    assert since is not None
    assert world.subscription.failing_since == since
    assert since < timezone.now() + timedelta(seconds=1)
