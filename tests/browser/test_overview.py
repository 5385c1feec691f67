"""The overview in a browser: seen at a glance, by keyboard, in both schemes, and moving by itself."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from syncsvc.admin.kept import forget
from syncsvc.models import Subscription
from syncsvc.sync.health import beat_seen, worker_seen
from tests import factories
from tests.browser.looking import look

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)
PHONE = {"width": 390, "height": 844}


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def morning() -> Subscription:
    """Much is wrong: what an operator finds who was away for the night. Gives one that failed."""
    beat_seen()
    worker_seen("worker-1@host")
    now = timezone.now()
    acme = factories.AppFactory(name="acme")
    factories.SubscriptionFactory.create_batch(3, app=acme, failed=True, failing_since=now - 9 * HOUR)
    factories.SubscriptionFactory.create_batch(5, app=acme, synced=True)
    down = factories.AppFactory(name="down", circuit_opened_at=now - HOUR, circuit_until=now + HOUR)
    factories.SubscriptionFactory(app=down, retry_count=3, error_kind="endpoint_timeout", due_at=now + HOUR)
    held = {"error_kind": "mass_delete_held", "last_error": "It would delete 40 of 50 files.", "failed": True}
    factories.SubscriptionFactory(app__name="docs", **held)
    factories.RepositoryFactory(name="owner/old", checked_at=now - HOUR, error_kind="git_auth")
    running = factories.SubscriptionFactory(
        status="syncing", due_at=None, lease_token=acme.pk, lease_expires_at=now + HOUR
    )
    factories.SyncRunFactory(subscription=running, running=True, worker="worker-1@host")
    factories.OperationFactory(waiting=1, running=0, succeeded=1, failed=1)
    for hour in range(24):
        factories.SyncRunFactory(
            subscription=running, delivered=100 + 37 * hour, failed=hour % 5, started_at=now - hour * HOUR
        )
    forget("overview", "chart")
    return acme.subscriptions.first()


def test_what_is_wrong_is_seen_at_once_and_leads_to_where_it_is_fixed(
    console: Page, morning: Subscription, axe: Callable[[Page], None]
) -> None:
    console.goto("/admin/")
    wrong = console.get_by_role("region", name="What is wrong")

    for word in ("1 held", "4 failed", "1 open circuit", "1 stale"):
        expect(wrong.get_by_text(word, exact=True).first).to_be_in_viewport()
    axe(console)
    look(console, "overview")
    console.emulate_media(color_scheme="dark")
    look(console, "overview-dark")
    console.emulate_media(color_scheme="light")
    console.set_viewport_size(PHONE)
    assert console.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    look(console, "overview-phone")

    console.get_by_text("As a table").click()
    expect(console.get_by_role("table").last).to_contain_text("Hour, UTC")
    wrong.get_by_role("link", name="Show failures").focus()
    console.keyboard.press("Enter")
    expect(console.get_by_role("heading", name="Failures", level=1)).to_be_visible()


def test_it_changes_by_itself_until_all_is_well(console: Page, axe: Callable[[Page], None]) -> None:
    beat_seen()
    worker_seen("worker-1@host")
    factories.SubscriptionFactory(synced=True)
    pending = factories.SubscriptionFactory(retry_count=1, error_kind="endpoint_error", due_at=timezone.now())
    forget("overview")
    console.goto("/admin/")
    console.evaluate("window.stayed = true")
    expect(console.get_by_role("link", name="endpoint_error at")).to_be_visible()
    wrong = console.get_by_role("region", name="What is wrong")
    expect(wrong).to_contain_text("1 retrying")
    expect(wrong).to_contain_text("It tries again by itself.")
    expect(console.get_by_text("All is well")).to_have_count(0)

    Subscription.objects.filter(pk=pending.pk).update(status="synced", due_at=None, retry_count=0, error_kind="")
    expect(console.get_by_text("All 2 subscriptions have everything.")).to_be_visible()
    assert console.evaluate("window.stayed")
    axe(console)
    look(console, "overview-well")


def test_the_first_steps_lead_a_new_operator_on(console: Page, axe: Callable[[Page], None]) -> None:
    beat_seen()
    worker_seen("worker-1@host")
    forget("overview")
    console.goto("/admin/")
    expect(console.get_by_role("heading", name="First steps")).to_be_visible()
    axe(console)
    look(console, "overview-first-steps")

    console.get_by_role("link", name="Add an app").click()
    expect(console.get_by_role("heading", name="Add app", level=1)).to_be_visible()
