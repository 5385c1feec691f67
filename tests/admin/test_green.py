"""No page is green for what has failed since its last success, or waits; and what is well is green."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc.models import App, RemoteHost, Repository, Subscription
from syncsvc.sync.health import beat_seen, worker_seen
from tests import factories
from tests.outages import open_circuit, throttle

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
HOST = "git.example.com"
FAILING = {"error_kind": "endpoint_rejected", "last_error": "The endpoint answered 422."}


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()
    beat_seen()
    worker_seen("worker-1@host")


def begins() -> dict[str, Any]:
    """What a row has whose run goes on."""
    now = timezone.now()
    return {
        "status": "syncing",
        "due_at": None,
        "lease_token": uuid.uuid4(),
        "lease_expires_at": now + HOUR,
        "last_success_at": now - HOUR,
    }


def rows(**values: Any) -> None:
    Subscription.objects.update(**values)


def waits(**values: Any) -> None:
    rows(status="pending", due_at=timezone.now() + HOUR, **values)


def remote(**values: Any) -> None:
    Repository.objects.update(**values)


def runs_badly() -> None:
    factories.SyncRunFactory(subscription=Subscription.objects.get(), running=True, delivered=40, failed=1)


# What is not well, and the pages on which that must not be green.
OVERVIEW, APP, APPS, REPOSITORY, REPOSITORIES, SUBSCRIPTION = "overview", "app", "apps", "repository", "repos", "row"
ALL = (OVERVIEW, APP, APPS, REPOSITORY, REPOSITORIES, SUBSCRIPTION)
OF_APP, OF_REMOTE = (OVERVIEW, APP, APPS, SUBSCRIPTION), (OVERVIEW, REPOSITORY, REPOSITORIES)
CASES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "failed": (lambda: rows(status="failed", failing_since=timezone.now() - HOUR, **FAILING), ALL),
    "retrying": (lambda: waits(failing_since=timezone.now(), retry_count=1, **FAILING), ALL),
    "running again": (lambda: rows(failing_since=timezone.now(), **FAILING, **begins()), ALL),
    "a run that fails": (lambda: (rows(**begins()), runs_badly()), ALL),
    "asked again": (lambda: waits(failing_since=timezone.now() - HOUR), ALL),
    "asked again, and running": (lambda: rows(failing_since=timezone.now() - HOUR, **begins()), ALL),
    "throttled": (lambda: (waits(), throttle(App.objects.get().pk)), OF_APP),
    "after the wait": (lambda: (waits(), throttle(App.objects.get().pk, seconds=-1)), OF_APP),
    "circuit open": (lambda: (waits(), open_circuit(App.objects.get().pk)), OF_APP),
    "messages fail": (lambda: (rows(**begins()), App.objects.update(failure_streak=1)), (APP, APPS, SUBSCRIPTION)),
    "remote fails": (
        lambda: remote(error_kind="git_auth", failure_streak=1, failing_since=timezone.now()),
        OF_REMOTE,
    ),
    "commit cannot be fetched": (
        lambda: remote(error_kind="git_corrupt", fetch_failures=1, unfetchable_commit="a" * 40),
        OF_REMOTE,
    ),
    "host is down": (
        lambda: RemoteHost.objects.create(name=HOST, circuit_until=timezone.now() + HOUR, failing_since=timezone.now()),
        OF_REMOTE,
    ),
    "host is quiet": (lambda: RemoteHost.objects.create(name=HOST, quiet_until=timezone.now() + HOUR), OF_REMOTE),
    "no commit yet": (lambda: (remote(head_commit=""), rows(snapshot=None, clean_epoch=F("epoch"))), ALL),
    "not checked lately": (lambda: remote(checked_at=timezone.now() - HOUR), OF_REMOTE),
}


@pytest.fixture
def row() -> Subscription:
    """All is well."""
    head = factories.SnapshotFactory()
    remote(head_commit=head.commit, checked_at=timezone.now())
    found: Subscription = factories.SubscriptionFactory(repository=head.repository, snapshot=head, synced=True)
    return found


def green(console: Client, row: Subscription) -> set[str]:
    """The pages that say in green how it is."""
    addresses = {
        OVERVIEW: "/admin/",
        APP: reverse("admin:syncsvc_app_change", args=[row.app_id]),
        APPS: reverse("admin:syncsvc_app_changelist"),
        REPOSITORY: reverse("admin:syncsvc_repository_change", args=[row.repository_id]),
        REPOSITORIES: reverse("admin:syncsvc_repository_changelist"),
        SUBSCRIPTION: reverse("admin:syncsvc_subscription_change", args=[row.pk]),
    }
    shown = {name: console.get(address).text for name, address in addresses.items()}
    shown[SUBSCRIPTION] = shown[SUBSCRIPTION].partition('id="now"')[2].partition("</section>")[0]
    for name in (APP, REPOSITORY):  # the rows below have badges of their own
        shown[name] = shown[name].partition('id="rows"')[0]
    return {name for name, page in shown.items() if re.search(r'"(verdict|badge) good"', page)}


def test_what_is_well_is_green(console: Client, row: Subscription) -> None:
    assert green(console, row) == set(ALL)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_well_is_green_nowhere(name: str, console: Client, row: Subscription) -> None:
    happens, pages = CASES[name]
    happens()
    assert not green(console, row) & set(pages)


def test_what_is_paused_is_not_said_to_be_on_its_way(console: Client, row: Subscription) -> None:
    factories.SubscriptionFactory(is_active=False)
    factories.SubscriptionFactory(last_error="Stopped by an operator: 3 changes were not sent.")
    factories.SubscriptionFactory()

    page = console.get("/admin/").text

    assert "1 of 4 subscriptions has everything; 1 is on its way, 1 is paused, 1 was stopped." in page


def test_a_paused_app_that_failed_is_not_said_to_try_by_itself(console: Client, row: Subscription) -> None:
    waits(failing_since=timezone.now(), **FAILING)
    App.objects.update(is_active=False)
    page_of_app = console.get(reverse("admin:syncsvc_app_change", args=[row.app_id])).text

    assert "1 of 1 repository tries again when it is resumed." in page_of_app
    assert "It tries again when it is resumed." in console.get("/admin/").text
