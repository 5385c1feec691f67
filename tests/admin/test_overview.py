"""The overview: what is wrong, whose and why, in as few questions as one; and what is said when nothing is wrong."""

import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from syncsvc.admin.kept import kept
from syncsvc.management.embedded import free_port
from syncsvc.models import App, RemoteHost, Subscription
from syncsvc.sync.circuit import GONE
from syncsvc.sync.health import beat_seen, worker_seen
from tests import factories
from tests.admin.labels import label
from tests.delivery.authority import Authority

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
NOW = "/admin/?part=now"
HELD = {"error_kind": "mass_delete_held", "last_error": "It would delete 40 of 50 files."}


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def alive() -> None:
    beat_seen()
    worker_seen("worker-1@host")


def text_of(page: Any) -> str:
    """Its words, in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.text.partition("<main")[2]).split())


def test_what_is_wrong_comes_first_with_whose_why_and_where_to_go(console: Client, alive: None) -> None:
    acme, beta = factories.AppFactory(name="acme"), factories.AppFactory(name="beta")
    factories.SubscriptionFactory.create_batch(3, app=acme, failed=True)
    factories.SubscriptionFactory(app=beta, retry_count=2, error_kind="endpoint_timeout", last_error="No answer.")
    factories.SubscriptionFactory(synced=True)

    page = console.get("/admin/")

    told = text_of(page)
    assert "3 failed endpoint_error at acme.example.com (3), and 1 more cause Show failures : 3 failed" in told
    assert "The endpoint failed with 500" in told
    assert "endpoint_timeout at beta.example.com No answer. 0 1" in told
    assert '/admin/failures/?cause=endpoint_error%40acme.example.com#list"' in page.text
    assert f'/admin/failures/?app={acme.pk}#list"' in page.text
    assert f"/admin/syncsvc/app/{beta.pk}/change/" in page.text


def test_a_failure_of_git_is_the_repositorys(console: Client, alive: None) -> None:
    factories.SubscriptionFactory(failed=True, error_kind="git_auth", repository__url="https://git.example.com/a.git")
    assert "git_auth at git.example.com" in text_of(console.get("/admin/"))


def test_held_runs_open_circuits_stale_repositories_and_apps_that_paused_themselves(
    console: Client, alive: None
) -> None:
    held = factories.SubscriptionFactory(failed=True, **HELD)
    hour = timedelta(hours=1)
    circuit = factories.AppFactory(circuit_opened_at=timezone.now() - hour, circuit_until=timezone.now() + hour)
    factories.SubscriptionFactory(app=circuit)
    factories.RepositoryFactory(name="owner/git", circuit_until=timezone.now() + hour, error_kind="git_timeout")
    stale = factories.RepositoryFactory(checked_at=timezone.now() - hour)
    slow = factories.RepositoryFactory(checked_at=timezone.now() - hour, poll_seconds=3000)
    gone = factories.AppFactory(is_active=False, pause_reason=GONE)
    moved = factories.AppFactory(is_active=False, pause_reason="The client moves house.")

    page = console.get("/admin/")

    told = text_of(page)
    assert f"1 held {held}: a run would delete most of what the app has" in told
    assert "2 open circuits" in told
    assert f"1 stale {stale.name}: git has not answered for three polls." in told
    assert f"1 gone {gone.name}: The endpoint answered 410 Gone" in told
    assert moved.name not in told  # somebody asked for that
    assert f"owner/git {label('git_timeout')} git_timeout" in told
    assert slow.name not in told
    assert told.index("1 held") < told.index("2 open circuits")


def test_a_host_that_cannot_be_reached_is_named_once_for_all_of_its_repositories(console: Client, alive: None) -> None:
    now = timezone.now()
    for _ in range(3):
        factories.SubscriptionFactory(repository__url="https://down.example.com/a/b.git", repository__checked_at=now)
    RemoteHost.objects.create(
        name="down.example.com", failing_since=now, circuit_until=now, error_kind="git_unreachable", circuit_openings=1
    )

    page = console.get("/admin/")

    told = text_of(page)
    assert "1 open circuit" in told
    assert "down.example.com: it failed too often in a row" in told
    assert "3 wait for it" in told
    assert "/admin/syncsvc/repository/?q=down.example.com" in page.text


@pytest.mark.parametrize(
    ("answering", "silent", "word"),
    [(1, 0, "1 not fetched"), (0, 1, "1 not reached"), (2, 0, "2 not fetched"), (1, 1, "2 not reached or fetched")],
)
def test_a_remote_that_answers_is_not_said_to_be_out_of_reach(
    console: Client, alive: None, answering: int, silent: int, word: str
) -> None:
    factories.SubscriptionFactory(synced=True)
    now = timezone.now()
    for _ in range(answering):
        factories.RepositoryFactory(checked_at=now, error_kind="git_corrupt", fetch_failures=1)
    for _ in range(silent):
        factories.RepositoryFactory(checked_at=now, error_kind="git_timeout", failure_streak=1)

    page = text_of(console.get("/admin/"))

    assert word in page
    title = word[2:].capitalize()
    assert (title in page) is (answering + silent > 1), "the list names each where there are several"


def test_a_host_that_nothing_is_asked_of_any_more_is_not_called_down(console: Client, alive: None) -> None:
    now = timezone.now()
    factories.RepositoryFactory(url="https://new.example.com/a/b.git")
    factories.RepositoryFactory(url="https://down.example.com/a/b.git", is_active=False)
    RemoteHost.objects.create(name="down.example.com", failing_since=now, circuit_until=now, circuit_openings=1)

    assert "down.example.com" not in text_of(console.get("/admin/"))


def test_workers_and_scheduler_that_were_not_seen_come_first_and_git_is_not_blamed(console: Client) -> None:
    factories.SubscriptionFactory(failed=True)
    factories.RepositoryFactory(checked_at=timezone.now() - timedelta(hours=1))

    told = text_of(console.get("/admin/"))

    assert told.index("No worker was seen") < told.index("The scheduler was not seen") < told.index("1 failed")
    assert "git has not answered" not in told


def test_a_late_queue_is_said(console: Client, alive: None) -> None:
    factories.SubscriptionFactory(due_at=timezone.now() - timedelta(minutes=5))
    assert "1 subscription is due, the oldest for 5 min. Workers do not keep up." in text_of(console.get("/admin/"))


def test_all_well_is_said_plainly(console: Client, alive: None) -> None:
    factories.SubscriptionFactory(synced=True)

    page = console.get("/admin/")

    assert "All is well The one subscription has everything." in text_of(page)
    assert "First steps" not in page.text
    assert 'data-every="15"' in page.text


def test_first_steps_are_shown_until_the_first_sync_arrived(console: Client, alive: None) -> None:
    def steps() -> str:
        cache.clear()
        return text_of(console.get("/admin/")).partition("First steps")[2].lstrip()[:200]

    assert steps().startswith("Add an app : the endpoint")
    app = factories.AppFactory()
    assert steps().startswith("Add an app done : the endpoint")
    repository = factories.RepositoryFactory()
    assert "Add a repository done" in steps()
    subscription = factories.SubscriptionFactory(app=app, repository=repository)
    assert "Subscribe the app to the repository done" in steps()
    Subscription.objects.filter(pk=subscription.pk).update(last_success_at=timezone.now())
    assert not steps()


def test_what_runs_now_is_named_and_asked_for_every_two_seconds(console: Client, alive: None) -> None:
    operation = factories.OperationFactory()
    running = factories.SubscriptionFactory(
        status="syncing", due_at=None, lease_token=operation.pk, lease_expires_at=timezone.now() + timedelta(minutes=1)
    )
    run = factories.SyncRunFactory(subscription=running, running=True, worker="worker-1@host", asked_by="mira")

    page = console.get("/admin/")

    assert f"Running {running} poll by mira, since now , worker-1@host" in text_of(page)
    assert f"/admin/syncsvc/syncrun/{run.pk}/change/" in page.text
    assert "0/3 completed" in text_of(page)
    assert 'data-every="2"' in page.text
    assert f"{operation.pk}/change/?part=bar" not in page.text  # the part itself brings it anew


def test_bars_are_for_who_may_see_operations(staff: Callable[..., Client], alive: None) -> None:
    factories.OperationFactory()
    factories.SubscriptionFactory(synced=True)

    assert "0/3 completed" in text_of(staff("view_subscription", "view_operation").get("/admin/"))
    assert "0/3 completed" not in text_of(staff("view_subscription").get("/admin/"))


def test_who_may_not_see_subscriptions_sees_no_number(staff: Callable[..., Client]) -> None:
    factories.SubscriptionFactory(app__name="acme", failed=True)
    client = staff("view_snapshot")

    page = client.get("/admin/")

    assert "Ask an administrator" in text_of(page)
    assert "acme" not in page.text
    assert client.get(NOW, headers=HTMX).status_code == 404


def test_the_day_is_a_picture_and_a_table(console: Client) -> None:
    run = factories.SyncRunFactory(delivered=4_000, failed=3)
    factories.SyncRunFactory(delivered=9, started_at=timezone.now() - timedelta(days=2))

    page = console.get("/admin/")

    told = text_of(page)
    assert "4,000 files delivered 3 failed" in told
    assert f"{run.started_at:%Y-%m-%d %H}:00 4,000 3" in told
    assert page.text.count('<rect class="delivered"') == 1
    assert page.text.count('<rect class="failed"') == 1
    assert page.text.count('<rect class="hover"') == 24


@pytest.mark.parametrize("rows", [1, 12])
def test_the_page_asks_three_times_and_a_poll_once(
    rows: int, console: Client, alive: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.SubscriptionFactory.create_batch(rows, failed=True)
    factories.SubscriptionFactory.create_batch(rows, failed=True, **HELD)
    factories.OperationFactory.create_batch(rows)
    console.get("/admin/")  # the session, and the operations' progress, are in Redis from here on
    for key in ("overview", "chart"):
        cache._cache.get_client(None, write=True).delete(f"syncsvc:kept:{key}", f"syncsvc:kept:{key}:turn")  # type: ignore[attr-defined]

    with django_assert_num_queries(3):  # the user, the numbers, the chart
        console.get("/admin/")
    with django_assert_num_queries(1):
        assert console.get(NOW, headers=HTMX).status_code == 200
    cache._cache.get_client(None, write=True).delete("syncsvc:kept:overview", "syncsvc:kept:overview:turn")  # type: ignore[attr-defined]
    with django_assert_num_queries(2):
        assert console.get(NOW, headers=HTMX).status_code == 200


def test_what_the_tab_shows_already_is_not_sent_again(console: Client, alive: None) -> None:
    factories.SubscriptionFactory(synced=True)
    page = console.get("/admin/").text
    version = page.partition("?part=now&amp;v=")[2].partition('"')[0]

    answer = console.get(f"{NOW}&v={version}", headers=HTMX)
    assert (answer.status_code, answer.content) == (204, b"")
    other = console.get(f"{NOW}&v=0", headers=HTMX)
    assert f"v={version}" in other.text


def test_who_has_done_something_sees_it_at_once(console: Client, alive: None) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    assert "1 failed" in text_of(console.get("/admin/"))

    console.post(f"/admin/syncsvc/subscription/{subscription.pk}/retry/")

    assert "1 failed" not in text_of(console.get("/admin/"))


def test_without_redis_the_page_works_and_says_so(console: Client, settings: Settings) -> None:
    factories.SubscriptionFactory(failed=True)
    factories.OperationFactory()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    told = text_of(console.get("/admin/"))

    assert "Redis away Redis does not answer." in told
    assert "1 failed" in told
    assert "No worker" not in told
    assert console.get(NOW, headers=HTMX).status_code == 200


def test_many_tabs_have_it_made_once() -> None:
    made: list[float] = []

    def make() -> str:
        made.append(time.monotonic())
        time.sleep(0.2)
        return "numbers"

    found: list[str] = []
    tabs = [threading.Thread(target=lambda: found.append(kept("a-test", make))) for _ in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()

    assert found == ["numbers"] * 8
    assert len(made) == 1


@pytest.mark.parametrize(("days", "words"), [(-1, "ended on"), (5, "ends on")])
def test_a_client_certificate_that_ends_is_warned_of(
    days: int, words: str, console: Client, alive: None, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    for name, valid in (("soon", days), ("later", 60)):
        certificate, key = authority.client(days=valid)
        app = factories.AppFactory(name=name, client_certificate=certificate, client_key=key)
        factories.SubscriptionFactory(app=app, synced=True)
    told = text_of(console.get("/admin/"))
    assert f"1 certificate soon: the client certificate {words}" in told
    App.objects.filter(name="soon").update(is_active=False)
    cache.clear()
    assert "client certificate" not in text_of(console.get("/admin/"))
