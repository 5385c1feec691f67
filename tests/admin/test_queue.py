"""The queue: what runs, is queued, is due and waits, found by app, repository or worker."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from syncsvc.management.embedded import free_port
from syncsvc.models import Subscription
from syncsvc.statistics.queue import SHOWN
from syncsvc.sync.health import worker_seen
from syncsvc.wakeup import queue_name
from tests import factories
from tests.admin.test_overview import text_of

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
QUEUE = "/admin/queue/"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


def running(worker: str, **fields: Any) -> Subscription:
    row = factories.SubscriptionFactory(
        status="syncing",
        due_at=None,
        lease_token="00000000-0000-0000-0000-000000000001",
        lease_expires_at=timezone.now() + timedelta(minutes=1),
        **fields,
    )
    factories.SyncRunFactory(subscription=row, running=True, worker=worker)
    return row


@pytest.fixture
def rows() -> dict[str, Subscription]:
    """One of each state, and some that are in no queue."""
    factories.SubscriptionFactory(synced=True)
    factories.SubscriptionFactory(failed=True)
    factories.SubscriptionFactory(app__is_active=False)
    return {
        "Running": running("worker-1@host", app__name="acme"),
        "Queued": factories.SubscriptionFactory(queued_at=timezone.now()),
        "Due": factories.SubscriptionFactory(due_at=timezone.now() - HOUR),
        "Waiting": factories.SubscriptionFactory(
            due_at=timezone.now() + HOUR, retry_count=2, error_kind="endpoint_timeout"
        ),
    }


def names_in(page: Any) -> str:
    return text_of(page).partition("Worker, lease")[2]


def test_each_state_has_its_count_and_its_rows_in_this_order(console: Client, rows: dict[str, Subscription]) -> None:
    page = console.get(QUEUE)

    listed = names_in(page)
    places = [listed.index(f"{state} {row}") for state, row in rows.items()]
    assert places == sorted(places)
    assert text_of(page).count("@host") == 2  # the worker, and its run
    assert "endpoint_timeout failed 2 times" in listed
    assert 'data-every="2"' in page.text
    for state, row in rows.items():
        only = names_in(console.get(QUEUE, {"state": state.lower()}))
        assert [str(other) in only for other in rows.values()] == [other is row for other in rows.values()]


def test_a_worker_in_trouble_is_not_green(console: Client) -> None:
    worker_seen("worker-1@host", disk="The mirror folder is read-only.")
    page = console.get(QUEUE)
    assert re.search(r"In trouble \d+ s ago The mirror folder is read-only\.", text_of(page))
    assert "badge good" not in page.text


def test_it_is_searched_by_app_repository_and_worker(console: Client, rows: dict[str, Subscription]) -> None:
    due = rows["Due"]
    for term in ("acme", "ACME/owner", "worker-1"):
        assert str(rows["Running"]) in names_in(console.get(QUEUE, {"q": term}))
    found = names_in(console.get(QUEUE, {"q": due.repository.name}))
    assert str(due) in found
    assert str(rows["Running"]) not in found
    for nothing in ("%", "_", "nobody", "\\"):
        assert "Nothing found" in text_of(console.get(QUEUE, {"q": nothing}))
    part = console.get(QUEUE, {"q": "acme", "part": "now"}, headers=HTMX)
    assert "?q=acme&amp;part=now&amp;v=" in part.text


def test_workers_that_hold_runs_and_were_not_seen_are_marked(console: Client, rows: dict[str, Subscription]) -> None:
    worker_seen("worker-2@host")

    told = text_of(console.get(QUEUE))

    assert "worker-1@host Not seen lease ends in" in told
    assert re.search(r"worker-2@host Alive [01] s ago 0", told)


def test_queues_have_their_messages_and_runs(
    console: Client, rows: dict[str, Subscription], settings: Settings
) -> None:
    item = factories.OperationItemFactory(subscription=rows["Running"], status="running", released_at=timezone.now())
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.rpush("live.0", "a message", "another")

    told = text_of(console.get(QUEUE))

    assert "live.0 2 1 0" in told
    assert "bulk.0 0 0 1" in told
    settings.SYNC_QUEUES = 3
    name = queue_name("bulk", item.subscription.repository_id)
    cache.clear()
    assert f"{name} 0 0 1" in text_of(console.get(QUEUE))


@pytest.mark.parametrize("many", [1, 12])
def test_it_asks_once_however_many_there_are(
    many: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.SubscriptionFactory.create_batch(many)
    for number in range(many):
        running(f"worker-{number}")
    console.get("/admin/failures/")

    with django_assert_num_queries(2):  # the user, the numbers
        console.get(QUEUE)
    with django_assert_num_queries(1):
        assert console.get(QUEUE, {"part": "now"}, headers=HTMX).status_code == 200


def test_rows_are_capped_and_it_says_so(console: Client) -> None:
    app = factories.AppFactory()
    repositories = factories.RepositoryFactory.create_batch(SHOWN + 1)
    Subscription.objects.bulk_create(Subscription(app=app, repository=row) for row in repositories)

    page = console.get(QUEUE)

    assert page.text.count('<span class="badge warn">Due</span>') == SHOWN
    assert "The first 100 of 101." in text_of(page)


def test_an_empty_queue_says_what_would_stand_there(console: Client) -> None:
    page = console.get(QUEUE)
    assert "The queue is empty" in text_of(page)
    assert 'data-every="15"' in page.text


def test_without_redis_what_runs_is_there(console: Client, rows: dict[str, Subscription], settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    told = text_of(console.get(QUEUE))

    assert "Redis does not answer" in told
    assert f"Running {rows['Running']}" in told


def test_it_is_for_who_may_see_subscriptions(staff: Callable[..., Client]) -> None:
    assert staff("view_subscription").get(QUEUE).status_code == 200
    assert staff("view_app").get(QUEUE).status_code == 403
    assert staff("view_subscription", "view_app").get(QUEUE, {"part": "x"}, headers=HTMX).status_code == 404
