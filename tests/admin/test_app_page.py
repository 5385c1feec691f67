"""An app's page: whether it is well, its repositories with what is pending, and its buttons."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from syncsvc.admin import kept
from syncsvc.models import App, Status, Subscription
from tests import factories
from tests.factories import deeds
from tests.outages import open_circuit

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def page_of(app: App) -> str:
    return reverse("admin:syncsvc_app_change", args=[app.pk])


def button(app: App, press: str) -> str:
    return reverse(f"admin:syncsvc_app_{press}", args=[app.pk])


def row_of(page: str, name: str) -> str:
    """The table's row of this repository."""
    (row,) = [row for row in page.split("<tr>") if f">{name}</a>" in row]
    return row


def follows(app: App, name: str, head: Any, **values: Any) -> Subscription:
    """It follows owner/<name>, whose head is this snapshot."""
    repository = factories.RepositoryFactory(name=name, head_commit=head)
    row: Subscription = factories.SubscriptionFactory(app=app, repository=repository, **values)
    return row


def test_the_page_says_whether_the_app_is_well(console: Client) -> None:
    app = factories.AppFactory()
    assert "Follows nothing" in console.get(page_of(app)).text

    well = factories.AppFactory()
    factories.SubscriptionFactory.create_batch(2, app=well, synced=True)
    assert "It has everything of 2 repositories." in console.get(page_of(well)).text

    ill = factories.AppFactory()
    factories.SubscriptionFactory(app=ill, failed=True)
    factories.SubscriptionFactory(app=ill, retry_count=2, error_kind="endpoint_error")
    page = console.get(page_of(ill)).text
    assert "1 of 2 repositories did not get through" in page
    assert "1 of 2 repositories tries again by itself." in page


def test_an_open_circuit_is_explained(console: Client) -> None:
    app = factories.AppFactory()
    open_circuit(app.pk)

    page = console.get(page_of(app)).text

    assert "The endpoint failed 5 times in a row." in page
    assert "one request tries it" in page


def test_the_last_day_is_that_of_its_runs_and_requests(console: Client) -> None:
    subscription = factories.SubscriptionFactory(synced=True)
    run = factories.SyncRunFactory(subscription=subscription, delivered=996, failed=4, bytes=2_048)
    long_ago = timezone.now() - timedelta(days=2)
    factories.SyncRunFactory(subscription=subscription, delivered=5_000, started_at=long_ago)
    for milliseconds in range(1, 101):
        factories.DeliveryAttemptFactory(run=run, milliseconds=milliseconds)
    factories.DeliveryAttemptFactory(run=run, milliseconds=9_000, at=long_ago)
    factories.SyncRunFactory(delivered=7)

    context = console.get(page_of(subscription.app)).context

    assert context["day"] == {"delivered": 996, "failed": 4, "bytes": 2_048, "runs": 1}
    assert context["rate"] == "99.6 %"
    assert [context["latency"][name] for name in ("requests", "half", "p95", "p99")] == [100, 50, 95, 99]


def test_each_repository_shows_what_is_pending(console: Client) -> None:
    app = factories.AppFactory()
    head = factories.SnapshotFactory(files=40, created=1, updated=2, deleted=0)
    well = factories.SubscriptionFactory(app=app, repository=head.repository, synced=True, snapshot=head)
    head.repository.head_commit = head.commit
    head.repository.save()
    never = factories.SubscriptionFactory(app=app)
    old = factories.SnapshotFactory()
    two = [factories.SnapshotFactory(repository=old.repository, created=2, updated=3, deleted=1) for _ in range(2)]
    old.repository.head_commit = two[-1].commit
    old.repository.save()
    behind = factories.SubscriptionFactory(app=app, repository=old.repository, snapshot=old, clean_epoch=1)
    stuck_at = factories.SnapshotFactory()
    stuck_at.repository.head_commit = stuck_at.commit
    stuck_at.repository.save()
    stuck = factories.SubscriptionFactory(app=app, repository=stuck_at.repository, failed=True)
    factories.SyncRunFactory(
        subscription=stuck, to_commit=stuck_at.commit, outcome="failed", created=10, delivered=7, failed=3
    )

    page = console.get(page_of(app)).text

    assert 'data-label="Pending files">0</td>' in row_of(page, well.repository.name)
    assert "up to date" in row_of(page, well.repository.name)
    assert "nothing yet" in row_of(page, never.repository.name)
    assert "up to 12" in row_of(page, behind.repository.name)
    assert "2 commits behind" in row_of(page, behind.repository.name)
    assert 'data-label="Pending files">3</td>' in row_of(page, stuck.repository.name)
    assert page.index(stuck.repository.name) < page.index(well.repository.name)  # the worst first


def test_a_re_sync_that_has_not_run_sends_all(console: Client) -> None:
    head = factories.SnapshotFactory(files=4_512)
    head.repository.head_commit = head.commit
    head.repository.save()
    row = factories.SubscriptionFactory(repository=head.repository, snapshot=head, epoch=2, clean_epoch=1)

    assert "all 4,512" in row_of(console.get(page_of(row.app)).text, row.repository.name)


def test_the_rows_are_filtered_searched_and_paged(console: Client) -> None:
    app = factories.AppFactory()
    factories.SubscriptionFactory.create_batch(60, app=app, synced=True)
    failed = factories.SubscriptionFactory(app=app, failed=True)

    def names(**query: str) -> list[str]:
        return [row.name for row in console.get(page_of(app), query).context["rows"]]

    assert len(names()) == 25
    assert len(names(p="3")) == 11
    assert names(state="failed") == [failed.repository.name]
    assert names(q=failed.repository.name.upper()) == [failed.repository.name]
    assert names(state="nonsense", p="-1")[0] == failed.repository.name
    assert names(state="paused") == []


@pytest.mark.parametrize("rows", [1, 25])
def test_the_page_needs_as_many_queries_for_one_row_as_for_many(
    rows: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    app = factories.AppFactory()
    factories.SubscriptionFactory.create_batch(rows, app=app, failed=True)
    console.get(page_of(app))
    # The user, the app, its operations, its subscriptions, how far they are; the numbers are in Redis.
    with django_assert_num_queries(5):
        assert len(console.get(page_of(app)).context["rows"]) == rows


def test_the_polled_part_costs_two_queries_and_says_when_the_rows_have_something_new(
    staff: Callable[..., Client], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    app = factories.AppFactory()
    an_hour_ago = timezone.now() - timedelta(hours=1)
    factories.SubscriptionFactory.create_batch(3, app=app, synced=True, last_success_at=an_hour_ago)
    client = staff("view_app", "view_subscription")
    version = client.get(page_of(app)).context["version"]
    part = f"{page_of(app)}?part=health&v="
    client.get(part, headers=HTMX)

    with django_assert_num_queries(2):
        still = client.get(part + version, headers=HTMX)
    kept.forget(f"app:{app.pk}", f"app-latency:{app.pk}")
    with django_assert_num_queries(2):  # also where nothing is kept
        anew = client.get(part + version, headers=HTMX)
    other = client.get(f"{part}1", headers=HTMX)

    assert anew.text == still.text
    assert "moved" not in still.headers.get("HX-Trigger", "")
    assert "moved" in other.headers["HX-Trigger"]
    assert 'data-every="15"' in still.text


def test_without_redis_the_page_still_works(console: Client, settings: Settings) -> None:
    app = factories.SubscriptionFactory(failed=True).app
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert "1 of 1 repository did not get through" in console.get(page_of(app)).text
    assert console.get(f"{page_of(app)}?part=health", headers=HTMX).status_code == 200


def test_what_moves_is_asked_for_every_two_seconds(console: Client) -> None:
    row = factories.SubscriptionFactory()
    context = console.get(page_of(row.app)).context
    assert (context["moves"], context["counts"]["moving"]) == (True, 1)


def test_pause_says_its_effect_and_resume_takes_it_back(console: Client) -> None:
    app = factories.SubscriptionFactory(app__name="acme").app

    question = console.get(button(app, "pause"), headers=HTMX).text
    assert "Pause acme?" in question
    assert "acme is sent nothing more until it is resumed: 1 repository." in question
    assert App.objects.get().is_active

    answer = console.post(button(app, "pause"), headers=HTMX)
    assert "Paused acme" in answer.headers["HX-Trigger"]
    assert not App.objects.get().is_active
    page = console.get(page_of(app)).text
    assert button(app, "resume") in page
    assert button(app, "pause") not in page

    App.objects.update(pause_reason="The endpoint answered 410 Gone.")
    assert "It was paused: The endpoint answered 410 Gone." in console.get(button(app, "resume"), headers=HTMX).text
    console.post(button(app, "resume"), headers=HTMX)
    resumed = App.objects.get()
    assert (resumed.is_active, resumed.pause_reason) == (True, "")
    assert [entry.text for entry in deeds()] == ["Paused.", "Resumed."]


@pytest.mark.parametrize("press", ["pause", "resume"])
def test_pausing_needs_the_permission_to_change_apps(press: str, staff: Callable[..., Client]) -> None:
    app = factories.AppFactory(is_active=press == "resume")
    looker = staff("view_app")

    assert looker.get(button(app, press)).status_code == 403
    assert looker.post(button(app, press)).status_code == 403
    assert button(app, press) not in looker.get(page_of(app)).text


def test_rows_are_for_those_who_may_see_subscriptions(staff: Callable[..., Client]) -> None:
    row = factories.SubscriptionFactory(failed=True)
    cache.clear()

    assert row.repository.name not in staff("view_app").get(page_of(row.app)).text
    assert row.repository.name in staff("view_app", "view_subscription").get(page_of(row.app)).text


def test_the_buttons_are_a_part_of_their_own(console: Client) -> None:
    app = factories.AppFactory()

    part = console.get(f"{page_of(app)}?part=buttons", headers=HTMX).text

    assert button(app, "retry_failed") in part
    assert button(app, "test") in part


def test_each_row_is_retried_where_it_stands(console: Client) -> None:
    row = factories.SubscriptionFactory(failed=True)
    retry = reverse("admin:syncsvc_subscription_retry", args=[row.pk])
    assert retry in console.get(page_of(row.app)).text

    answer = console.post(retry, headers=HTMX)

    assert f"Retry queued for {row.repository.name}" in answer.headers["HX-Trigger"]
    assert Subscription.objects.get().status == Status.PENDING


def test_an_apps_secret_is_not_on_its_page(console: Client) -> None:
    app = factories.AppFactory()
    page = console.get(page_of(app)).text
    assert app.secret.reveal() not in page
    assert "One secret signs." in page
    console.post(button(app, "rotate"))
    console.get(page_of(app))
    assert "Two secrets sign" in console.get(page_of(app)).text


def test_a_paused_row_offers_nothing_that_would_be_refused(console: Client) -> None:
    row = factories.SubscriptionFactory(failed=True)
    assert f"/{row.pk}/resync/" in console.get(page_of(row.app)).text
    Subscription.objects.filter(pk=row.pk).update(is_active=False)
    assert f"/{row.pk}/re" not in console.get(page_of(row.app)).text


def test_the_page_says_what_the_app_takes(console: Client) -> None:
    plain = console.get(page_of(factories.AppFactory())).text
    assert "no limit" in plain
    assert "15 s a request" in plain

    page = console.get(page_of(factories.AppFactory(max_per_second=96, timeout=600))).text

    assert "at most 96 requests, all workers together" in page
    assert "48 s a request" in page
    assert "600 s are stored" in page


def test_what_is_pending_is_no_exact_number_while_a_run_delivers_it(console: Client) -> None:
    head = factories.SnapshotFactory(files=757)
    head.repository.head_commit = head.commit
    head.repository.save()
    in_an_hour = timezone.now() + timedelta(hours=1)
    lease = {"lease_token": head.repository.pk, "lease_expires_at": in_an_hour}
    row = factories.SubscriptionFactory(repository=head.repository, status="syncing", due_at=None, **lease)

    assert "up to 757" in row_of(console.get(page_of(row.app)).text, row.repository.name)
