"""`sync.failed`: once a streak of failures that only the repository's or the app's people can mend."""

import json
from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks import Webhook

from syncsvc.models import App, DeliveryAttempt, Repository, Status, Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.job import Job
from syncsvc.sync.pipeline import run_job
from tests.receiver import Receiver, accept
from tests.sync.answers import always
from tests.sync.world import World


def told(world: World) -> list[dict[str, Any]]:
    return [event for event in world.events() if event["type"] == "sync.failed"]


def break_branch(world: World, branch: str = "nowhere") -> None:
    Repository.objects.update(branch=branch)


def test_a_git_failure_is_told_once_a_streak_with_the_documented_body(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    break_branch(world)

    run = world.run()
    world.run_when_due()
    world.run()

    (event,) = told(world)
    repository = {"id": str(world.repository.id), "url": world.repository.url, "branch": "nowhere"}
    data = event["data"]
    assert event.keys() == {"type", "timestamp", "data"}
    assert data == {
        "app": {"id": str(world.app.id)},
        "repository": repository,
        "sync_run": str(run.id),
        "error_kind": "git_not_found",
        "error": run.error,
        "failing_since": data["failing_since"],
        "next_try": data["next_try"],
    }
    since, next_try = (datetime.fromisoformat(data[name]) for name in ("failing_since", "next_try"))
    assert 0 < (timezone.now() - since).total_seconds() < 30
    assert 3600 * 0.8 - 30 < (next_try - timezone.now()).total_seconds() < 3600 * 1.2
    assert DeliveryAttempt.objects.filter(kind="sync.failed", run=run, status=204, files=0, path=None).count() == 1


def test_it_is_signed_like_any_other_webhook(world: World) -> None:
    world.repo.commit({"a": b"1"})
    break_branch(world)
    world.run()

    (request,) = world.receiver.requests
    verified = Webhook(App.objects.get().secret.reveal()).verify(request.body, request.headers)
    assert verified == json.loads(request.body)
    assert request.headers["user-agent"].startswith("syncsvc/")


def test_after_a_success_a_new_streak_is_told_again(world: World) -> None:
    world.repo.commit({"a": b"1"})
    break_branch(world)
    world.run()
    Repository.objects.update(branch="")
    assert world.run().outcome == "synced"
    break_branch(world)

    world.run()

    assert len(told(world)) == 2


def test_a_held_delete_is_told_with_no_next_try(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(30)})
    world.run()
    world.repo.commit({}, replace_all=True)

    world.run()
    world.run()

    (event,) = told(world)
    assert (event["data"]["error_kind"], event["data"]["next_try"]) == ("mass_delete_held", None)
    assert "--allow-deletes" in event["data"]["error"]


def test_what_is_still_being_tried_quickly_is_not_told_and_the_end_of_it_is(world: World, settings: Settings) -> None:
    settings.RETRY_DELAYS = (5, 5)
    Repository.objects.update(url="git://127.0.0.1:1/nothing")
    assert world.run().outcome == "postponed"
    assert world.run().outcome == "postponed"
    assert told(world) == []

    assert world.run().outcome == "failed"

    (event,) = told(world)
    assert event["data"]["error_kind"] == "git_unreachable"


@pytest.mark.parametrize("status", [410, 422])
def test_failures_of_the_endpoint_itself_are_not_told_to_it(world: World, settings: Settings, status: int) -> None:
    settings.RETRY_DELAYS = ()
    world.repo.commit({"a": b"1"})
    world.receiver.answer = always(status)

    assert world.run().outcome == "failed"

    assert told(world) == []


def test_it_is_one_try_and_its_failure_is_logged_and_changes_nothing(world: World) -> None:
    world.repo.commit({"a": b"1"})
    break_branch(world)
    world.receiver.answer = always(500)

    run = world.run()
    world.run_when_due()

    assert len(told(world)) == 1
    attempt = DeliveryAttempt.objects.get()
    assert (attempt.kind, attempt.status, attempt.error_kind) == ("sync.failed", 500, "endpoint_error")
    assert (run.outcome, world.subscription.error_kind) == ("failed", "git_not_found")
    assert App.objects.get().failure_streak == 0


def test_an_app_that_wants_no_more_is_paused_by_this_answer_too(world: World) -> None:
    world.repo.commit({"a": b"1"})
    break_branch(world)
    world.receiver.answer = always(410)

    world.run()

    assert not App.objects.get().is_active


def test_a_paused_app_is_told_nothing(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    break_branch(world)
    App.objects.update(is_active=False)

    assert world.run_when_due() is None

    assert told(world) == []
    assert world.subscription.status == Status.SYNCED


@pytest.mark.parametrize("is_active", [True, False])
def test_an_app_that_was_changed_meanwhile_is_told_as_it_is_now(world: World, is_active: bool) -> None:
    world.repo.commit({"a": b"1"})
    break_branch(world)
    ask_for_runs(Subscription.objects.all(), Trigger.SYNC)
    job = Job.claim(world.id, worker="test")
    assert job is not None

    with Receiver() as elsewhere:
        App.objects.update(url=elsewhere.url, is_active=is_active)
        run_job(job)

        assert len(elsewhere.requests) == int(is_active)
    assert told(world) == []


def test_a_failure_of_the_endpoint_in_between_does_not_begin_a_new_streak(world: World, settings: Settings) -> None:
    settings.RETRY_DELAYS = ()
    world.repo.commit({"a": b"1"})
    break_branch(world)
    world.run()
    Repository.objects.update(branch="")
    world.receiver.answer = always(422)
    world.run()
    world.receiver.answer = accept
    break_branch(world)

    world.run()

    assert len(told(world)) == 1
