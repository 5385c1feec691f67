"""stop: the run that goes on, its document, and what it refuses."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from syncsvc.models import Status, Subscription, SyncRun
from tests.factories import SubscriptionFactory, SyncRunFactory
from tests.management.conftest import Run
from tests.management.working import Terminal


@pytest.fixture
def going_on(transactional_db: None) -> SyncRun:
    row = SubscriptionFactory.create(
        app__name="client",
        repository__name="owner/a",
        status=Status.SYNCING,
        due_at=None,
        lease_token=uuid.uuid4(),
        lease_expires_at=timezone.now() + timedelta(minutes=1),
    )
    return SyncRunFactory.create(subscription=row, running=True)


def test_the_run_that_goes_on_is_asked_to_stop(run: Run, going_on: SyncRun) -> None:
    done = run("stop", "client/owner/a", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "subscription": "client/owner/a",
        "id": str(going_on.subscription_id),
        "run": str(going_on.pk),
    }
    assert Subscription.objects.get().stop_requested_at is not None
    again = run("stop", going_on.subscription_id, "--yes")
    assert again.out.startswith("client/owner/a: the run stops within seconds")


def test_where_no_run_goes_on_it_is_refused(run: Run) -> None:
    SubscriptionFactory.create(app__name="client", repository__name="owner/a")
    assert run("stop", "client/owner/a", "--json").refusal == "conflict"
    in_words = run("stop", "client/owner/a")
    assert (in_words.code, in_words.out) == (2, "")
    assert "No run of client/owner/a goes on" in in_words.err


@pytest.mark.parametrize(("name", "kind"), [("client/nothing", "not_found"), ("--nothing", "usage")])
def test_what_is_not_there_is_said(run: Run, name: str, kind: str, transactional_db: None) -> None:
    assert run("stop", name, "--json").refusal == kind


def test_a_person_is_asked(run: Run, going_on: SyncRun) -> None:
    with Terminal() as terminal:
        terminal.type("n", after=0.2)
        assert run("stop", "client/owner/a").code == 2
    assert "Stop the run of client/owner/a?" in terminal.seen
    assert Subscription.objects.get().stop_requested_at is None


def test_what_was_stopped_is_told_by_sync_and_status(run: Run, going_on: SyncRun) -> None:
    said = "Stopped by an operator: 3 changes were not sent."
    Subscription.objects.update(
        status=Status.PENDING, lease_token=None, lease_expires_at=None, due_at=timezone.now(), last_error=said
    )
    assert said in run("status").out
