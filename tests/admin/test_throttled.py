"""An app whose endpoint asked for fewer requests: every page says so and until when, and nothing calls it failed."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc import words
from syncsvc.models import App, Subscription
from syncsvc.statistics.queue import queue_numbers
from syncsvc.store.looks import Look
from syncsvc.sync.health import beat_seen, worker_seen
from syncsvc.sync.present_pace import PaceTeller
from syncsvc.sync.watch import Watched
from tests import factories
from tests.outages import throttle

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
MINUTE = timedelta(minutes=1)
THROTTLED = {"error_kind": "endpoint_throttled", "last_error": "The endpoint answered 429 Too Many Requests."}


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()
    beat_seen()
    worker_seen("worker-1@host")


@pytest.fixture
def app() -> App:
    """Throttled for ten minutes; one of its subscriptions met that, another became due meanwhile."""
    app: App = factories.AppFactory(name="acme")
    throttle(app.pk, seconds=600)
    app.refresh_from_db()
    factories.SubscriptionFactory(app=app, repository__name="o/met", due_at=app.throttled_until, **THROTTLED)
    factories.SubscriptionFactory(app=app, repository__name="o/due", due_at=Now() - 5 * MINUTE)
    return app


def told(page: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.text.partition("<main")[2] or page.text).split())


def clock(at: datetime | None) -> str:
    assert at is not None
    return words.clock(at, now=timezone.now())


def page_of(row: App | Subscription) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_change", args=[row.pk])


def ended(app: App) -> None:
    """The wait is over; no request has been taken yet."""
    App.objects.filter(pk=app.pk).update(throttled_until=Now() - MINUTE)


@pytest.mark.parametrize("name", ["o/met", "o/due"])
def test_a_subscriptions_badge_says_until_when_wherever_it_stands(name: str, app: App, console: Client) -> None:
    row = Subscription.objects.get(repository__name=name)
    status = reverse("admin:syncsvc_subscription_statuses")

    said = f"Throttled until {clock(app.throttled_until)}"

    for address in (page_of(row), page_of(app), reverse("admin:syncsvc_subscription_changelist")):
        page = console.get(address)
        assert said in told(page)
        assert "Pending <" not in page.text
        assert '<span class="badge warn">Throttled</span>' in page.text
    assert said in told(console.get(status, {"ids": str(row.pk)}, headers=HTMX))
    assert reverse("admin:syncsvc_subscription_retry", args=[row.pk]) in console.get(page_of(row)).text


def test_the_apps_page_says_the_pace_in_words(app: App, console: Client) -> None:
    page = told(console.get(page_of(app)))

    assert f"Nothing is sent until {clock(app.throttled_until)}" in page
    assert "Throttled 2" in page, "its rows are found by that"
    assert "Healthy" not in page
    assert "Retrying" not in page
    assert len(console.get(page_of(app), {"state": "throttled"}).context["rows"]) == 2
    assert console.get(page_of(app), {"state": "pending"}).context["rows"] == []
    apps = told(console.get(reverse("admin:syncsvc_app_changelist")))
    assert f"Throttled until {clock(app.throttled_until)}" in apps

    ended(app)
    assert "one request goes first" in told(console.get(page_of(app)))


def test_without_a_throttle_the_pace_is_the_apps_limits(console: Client) -> None:
    app = factories.AppFactory(max_in_flight=4, max_per_second=96)
    assert "Pace 4 at once, each worker; at most 96 a second" in told(console.get(page_of(app)))


def test_while_it_runs_the_pace_is_that_of_its_workers(app: App, console: Client) -> None:
    row = Subscription.objects.filter(app=app, repository__name="o/met")
    row.update(status="syncing", due_at=None, lease_token=app.pk, lease_expires_at=timezone.now() + MINUTE)
    watched = Watched()
    watched.latest = Look(is_stopped=False, is_active=True, remote=("", ""), app=app, throttled=None)
    PaceTeller().tell([watched])

    page = told(console.get(page_of(app)))

    assert f"until {clock(app.throttled_until)} , 16 at once, 0 requests a second" in page
    App.objects.update(throttled_until=None, throttled_at=None, throttled_since=None)
    assert "Pace 16 at once, 0 requests a second now" in told(
        console.get(page_of(app), {"part": "health"}, headers=HTMX)
    )


def test_the_overview_has_a_line_of_its_own_and_calls_nothing_late(app: App, console: Client) -> None:
    page = console.get("/admin/")

    words = told(page)
    assert f"1 throttled acme: its endpoint asked for fewer requests, until {clock(app.throttled_until)}." in words
    assert "2 subscriptions wait, and nothing is lost." in words
    assert "Workers do not keep up" not in words
    assert "failed" not in words.partition("Failed")[0]
    assert '<section class="verdict warn"' in page.text
    assert "Due 0" in words

    other = factories.AppFactory(name="beta")
    throttle(other.pk)
    cache.clear()
    assert "2 throttled acme and 1 more" in told(console.get("/admin/"))


def test_a_throttle_that_nothing_waits_for_any_more_is_not_shown(app: App, console: Client) -> None:
    Subscription.objects.all().delete()
    factories.SubscriptionFactory(app=app, synced=True)
    ended(app)

    assert "throttled" not in told(console.get("/admin/"))
    assert "fewer requests" not in told(console.get(page_of(app)))
    App.objects.update(is_active=False, throttled_until=timezone.now() + MINUTE)
    cache.clear()
    assert "throttled" not in told(console.get("/admin/"))


def test_the_queue_has_its_subscriptions_waiting_and_not_due(app: App, console: Client) -> None:
    Subscription.objects.filter(repository__name="o/met").update(queued_at=Now())  # the claim passes over it
    asked = factories.SubscriptionFactory(
        app=app, repository__name="o/asked", trigger="retry", due_at=Now() - 5 * MINUTE
    )

    states = {row["name"]: row["state"] for row in queue_numbers()["rows"]}

    assert states == {"acme/o/met": "waiting", "acme/o/due": "waiting", str(asked): "due"}
    page = told(console.get("/admin/queue/"))
    assert "until its endpoint takes requests again" in page
    ended(app)
    assert {row["state"] for row in queue_numbers()["rows"]} == {"queued", "due"}
