"""The queue in a browser: searched, live, on a phone."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from syncsvc.models import Subscription
from syncsvc.sync.health import worker_seen
from tests import factories
from tests.browser.looking import look
from tests.browser.test_overview import PHONE

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_runs_and_waits_is_found_and_moves(console: Page, axe: Callable[[Page], None]) -> None:
    cache.clear()
    worker_seen("worker-1@host")
    now, minute = timezone.now(), timedelta(minutes=1)
    queued = factories.SubscriptionFactory(app__name="acme", queued_at=now)
    factories.SubscriptionFactory.create_batch(8, due_at=now - minute)
    factories.SubscriptionFactory.create_batch(
        4, due_at=now + 9 * minute, retry_count=2, error_kind="endpoint_throttled"
    )
    console.goto("/admin/queue/")
    expect(console.get_by_role("row", name="Queued acme/")).to_be_visible()
    axe(console)
    look(console, "queue")

    console.get_by_role("searchbox", name="App, repository or worker").fill("acme")
    console.keyboard.press("Enter")
    expect(console.get_by_role("heading", name="1 found")).to_be_visible()
    Subscription.objects.filter(pk=queued.pk).update(
        status="syncing", due_at=None, queued_at=None, lease_token=queued.pk, lease_expires_at=now + minute
    )
    factories.SyncRunFactory(subscription=queued, running=True, worker="worker-1@host")
    expect(console.get_by_role("row", name="Running acme/")).to_contain_text("worker-1@host")
    expect(console.get_by_role("searchbox")).to_have_value("acme")

    console.get_by_role("link", name="Show all").click()
    console.set_viewport_size(PHONE)
    expect(console.get_by_role("row", name="Waiting").first).to_contain_text("failed 2 times")
    assert console.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    look(console, "queue-phone")
