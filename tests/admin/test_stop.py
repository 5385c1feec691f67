"""Stop this run: on the pages of its subscription and of itself, for who may pause, and how what it leaves is shown."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc.admin.badges import run_badge
from syncsvc.admin.tones import OF_OUTCOME
from syncsvc.models import Status, Subscription, SyncRun
from tests import factories
from tests.factories import deeds

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
STOPPED = "Stopped by an operator: 3 changes were not sent."
type Row = Subscription | SyncRun


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def run() -> SyncRun:
    """It goes on."""
    row = factories.SubscriptionFactory(
        app__name="acme",
        repository__name="o/docs",
        status=Status.SYNCING,
        due_at=None,
        lease_token=uuid.uuid4(),
        lease_expires_at=timezone.now() + timedelta(minutes=1),
    )
    run: SyncRun = factories.SyncRunFactory(subscription=row, running=True)
    return run


@pytest.fixture(params=["subscription", "run"])
def row(request: pytest.FixtureRequest, run: SyncRun) -> Row:
    return run if request.param == "run" else run.subscription


def page_of(row: Row) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_change", args=[row.pk])


def button(row: Row) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_stop", args=[row.pk])


def told(page: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.text).split())


def hidden(question: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(run)" value="([^"]*)">', question))


def end(run: SyncRun) -> None:
    """As a worker that saw the stop leaves it."""
    SyncRun.objects.filter(pk=run.pk).update(outcome="stopped", error=STOPPED, finished_at=timezone.now(), created=3)
    Subscription.objects.filter(pk=run.subscription_id).update(
        status=Status.PENDING,
        lease_token=None,
        lease_expires_at=None,
        stop_requested_at=None,
        due_at=timezone.now() + timedelta(hours=1),
        last_error=STOPPED,
    )


def test_it_is_asked_first_and_then_the_run_is_asked_to_stop(row: Row, console: Client) -> None:
    assert button(row) in console.get(page_of(row)).text

    question = console.get(button(row), headers=HTMX).text
    assert "Stop the run of acme/o/docs?" in question
    assert Subscription.objects.get().stop_requested_at is None

    answer = console.post(button(row), hidden(question), headers=HTMX)

    assert "Stopping the run of acme/o/docs" in answer.headers["HX-Trigger"]
    assert Subscription.objects.get().stop_requested_at is not None
    assert deeds().get().text == "Asked the run to stop."
    page = console.get(page_of(row)).text
    assert button(row) not in page, "once is enough"
    assert ">Stopping</span>" in console.get(page_of(Subscription.objects.get())).text


def test_the_subscriptions_part_notices_that_it_stops(run: SyncRun, console: Client) -> None:
    part = {"part": "now", "v": console.get(page_of(run.subscription)).context["version"]}
    assert "moved" not in console.get(page_of(run.subscription), part, headers=HTMX).headers.get("HX-Trigger", "")
    Subscription.objects.all().request_stop()
    answer = console.get(page_of(run.subscription), part, headers=HTMX)
    assert "moved" in answer.headers["HX-Trigger"]


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_run_that_has_ended_meanwhile_is_said(
    method: str, headers: dict[str, str], row: Row, run: SyncRun, console: Client
) -> None:
    question = console.get(button(row), headers=HTMX).text
    end(run)
    assert button(row) not in console.get(page_of(row)).text

    answer = getattr(console, method)(button(row), hidden(question), headers=headers, follow=True)

    said = answer.headers["HX-Trigger"] if headers else answer.text
    assert "No run of acme/o/docs goes on" in said
    assert Subscription.objects.get().stop_requested_at is None


def test_an_answer_about_one_run_does_not_stop_the_next(row: Row, run: SyncRun, console: Client) -> None:
    question = console.get(button(row), headers=HTMX).text
    SyncRun.objects.update(outcome="synced", finished_at=timezone.now())
    factories.SyncRunFactory(subscription=run.subscription, running=True)

    answer = console.post(button(row), hidden(question), headers=HTMX)

    assert "another one goes on" in answer.headers["HX-Trigger"]
    assert Subscription.objects.get().stop_requested_at is None


def test_it_needs_the_permission_to_pause(row: Row, staff: Callable[..., Client]) -> None:
    looker = staff("view_subscription", "view_syncrun")
    changer = staff("view_subscription", "view_syncrun", "change_subscription")

    assert looker.get(button(row)).status_code == 403
    assert looker.post(button(row)).status_code == 403
    assert button(row) not in looker.get(page_of(row)).text
    assert button(row) in changer.get(page_of(row)).text
    assert changer.get(button(row)).status_code == 200


def test_what_was_stopped_is_shown_as_such_and_may_be_retried(run: SyncRun, console: Client) -> None:
    end(run)
    item = factories.OperationItemFactory(
        subscription=run.subscription, run_id=run.pk, status="cancelled", reason=STOPPED, settled_at=timezone.now()
    )

    page = console.get(page_of(run.subscription))
    assert STOPPED in page.text
    assert reverse("admin:syncsvc_subscription_retry", args=[run.subscription_id]) in page.text
    for address in (page_of(run), page_of(run.subscription), reverse("admin:syncsvc_syncrun_changelist")):
        assert '<span class="badge quiet">Stopped</span>' in console.get(address).text
    assert "Cancelled" in told(console.get(reverse("admin:syncsvc_operation_change", args=[item.operation_id])))
    of_run = told(console.get(page_of(run)))
    assert "0 of 3, 3 not sent" in of_run
    assert "Cancelled" in of_run


def test_each_outcome_has_a_label_and_a_tone() -> None:
    assert set(OF_OUTCOME) == set(SyncRun.Outcome)
    for outcome in SyncRun.Outcome:
        assert outcome.label in run_badge(SyncRun(outcome=outcome, to_commit="1" * 40))
