"""A remote without a commit is no success: every page says what is waited for, and shows nothing green."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc.models import Subscription
from syncsvc.sync.health import beat_seen, worker_seen
from tests import factories

pytestmark = pytest.mark.django_db
WAITS = "Waiting for its first commit"


@pytest.fixture
def row() -> Subscription:
    """acme/owner/new, whose run found nothing to send."""
    cache.clear()
    beat_seen()
    worker_seen("worker-1@host")
    found: Subscription = factories.SubscriptionFactory(
        app__name="acme",
        repository__name="owner/new",
        repository__checked_at=timezone.now(),
        synced=True,
        clean_epoch=1,
    )
    factories.SyncRunFactory(subscription=found, to_commit="")
    return found


def page_of(row: Any) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_change", args=[row.pk])


def greens(page: str) -> list[str]:
    return re.findall(r'class="[^"]*(?:badge|verdict) good"[^>]*>([^<]*)', page)


def test_no_page_shows_it_green(console: Client, row: Subscription) -> None:
    lists = [reverse(f"admin:syncsvc_{name}_changelist") for name in ("subscription", "syncrun", "repository")]
    pages = [page_of(row), page_of(row.app), page_of(row.repository), page_of(row.runs.get()), *lists, "/admin/"]
    shown = {address: console.get(address).text for address in pages}
    assert {address: green for address, page in shown.items() if (green := greens(page))} == {}
    for address in (page_of(row), page_of(row.app), page_of(row.repository), lists[0]):
        assert WAITS in shown[address]
    assert "The remote has no commit yet" in shown[page_of(row)]
    assert "its first commit is sent when it comes." in shown[page_of(row.repository)]
    assert 'data-label="Pending files">0</td>' in shown[page_of(row.app)]
    assert "no remote has a commit" in shown["/admin/"]
    assert "have everything" not in shown["/admin/"]


def test_beside_others_it_is_counted_apart(console: Client, row: Subscription) -> None:
    snapshot = factories.SnapshotFactory()
    factories.SubscriptionFactory(app=row.app, repository=snapshot.repository, synced=True, snapshot=snapshot)
    overview, app = console.get("/admin/").text, console.get(page_of(row.app)).text
    assert "1 of 2 subscriptions has everything; 1 waits for its first commit." in overview
    assert "It has everything of 1 of 2 repositories; 1 waits for its first commit." in app
    only = console.get(f"{page_of(row.app)}?state=empty").text
    assert "owner/new" in only
    assert snapshot.repository.name not in only
    assert "owner/new" not in console.get(f"{page_of(row.app)}?state=synced").text
