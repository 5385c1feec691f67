"""Retry and re-sync in the console: buttons, actions with their confirmation, and the pages of operations."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from syncsvc.models import App, Operation, OperationItem, Repository, Status, Subscription
from tests import factories
from tests.factories import deeds

pytestmark = pytest.mark.django_db

LIST = "admin:syncsvc_subscription_changelist"
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


def fields_of(page: str) -> dict[str, list[str]]:
    """What the confirmation's form would send."""
    found: dict[str, list[str]] = {}
    form = page[page.index('class="question"') :]
    for name, value in HIDDEN.findall(form):
        found.setdefault(name, []).append(unescape(value))
    return found


def said(client: Client, response: object) -> str:
    """The messages that the answer, or the page it leads to, shows."""
    text = client.get(response.url).text if getattr(response, "status_code", 0) == 302 else response.text  # type: ignore[attr-defined]
    (shown,) = re.findall(r'<ul class="messagelist">(.*?)</ul>', text, flags=re.DOTALL) or [""]
    return unescape(re.sub(r"<[^>]+>", " ", shown)).strip()


def press(client: Client, row: object, name: str, **data: object) -> object:
    model = row._meta.model_name  # type: ignore[attr-defined]
    return client.post(reverse(f"admin:syncsvc_{model}_{name}", args=[row.pk]), data)  # type: ignore[attr-defined]


def in_group(name: str) -> Client:
    user = User.objects.create_user(f"a-{name}", is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    client = Client()
    client.force_login(user)
    return client


def operation_with_items(**counts: int) -> Operation:
    operation = factories.OperationFactory(total=sum(counts.values()), **{"waiting": 0, **counts})
    for status, count in counts.items():
        kind = "git_auth" if status == "failed" else ""
        reason = "The remote refuses the token." if kind else ""
        factories.OperationItemFactory.create_batch(
            count, operation=operation, status=status, error_kind=kind, reason=reason
        )
    return operation


def test_one_is_retried_by_its_button(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)

    assert f"Retry queued for {subscription.repository.name}" in said(console, press(console, subscription, "retry"))
    subscription.refresh_from_db()
    assert (subscription.status, subscription.asked_by) == (Status.PENDING, "admin")
    assert deeds().get().text == "Retry asked for."

    refused = said(console, press(console, subscription, "retry"))
    assert refused == "Failed to queue retry: A retry is already in progress"


def test_one_is_re_synced_by_its_button(console: Client) -> None:
    subscription = factories.SubscriptionFactory(synced=True)
    answer = said(console, press(console, subscription, "resync"))
    assert answer == f"Re-sync queued for {subscription.repository.name}"
    subscription.refresh_from_db()
    assert subscription.epoch == 2
    paused = factories.SubscriptionFactory(synced=True, is_active=False)
    assert said(console, press(console, paused, "resync")).startswith("Failed to queue re-sync: The subscription")


def test_a_retry_says_how_much_it_sends_at_most(console: Client) -> None:
    old = factories.SnapshotFactory(files=1)
    new = factories.SnapshotFactory(repository=old.repository, files=4_512, bytes=31_000_000)
    factories.SubscriptionFactory(failed=True, repository=new.repository, snapshot=old)
    factories.SubscriptionFactory(failed=True)
    page = console.get("/admin/failures/retry/").text
    assert "Retry 2 failed notifications?" in page
    assert (
        "What is missing is sent now, at most about 4,512 files (31 MB), and the retries begin to count anew." in page
    )


def test_what_is_ticked_is_retried_after_the_confirmation(console: Client) -> None:
    chosen = [factories.SubscriptionFactory(failed=True) for _ in range(2)]
    synced = factories.SubscriptionFactory(synced=True)
    factories.SubscriptionFactory(failed=True)
    ticked = {"action": "retry_selected", "_selected_action": [row.pk for row in (*chosen, synced)]}

    page = console.post(reverse(LIST), ticked).text

    assert "Retry 2 failed notifications?" in page
    assert "3 were selected; only failed ones are retried." in page
    assert not Operation.objects.exists()
    response = console.post(reverse(LIST), fields_of(page))
    operation = Operation.objects.get()
    assert response.url == reverse("admin:syncsvc_operation_change", args=[operation.pk])
    assert said(console, response) == "Retry queued for 2 subscriptions"
    assert set(operation.items.values_list("subscription", flat=True)) == {row.pk for row in chosen}
    assert (operation.source, operation.asked_by, operation.address) == ("console", "admin", "127.0.0.1")
    assert operation.scope_text == "3 selected failed subscriptions"


def test_a_confirmation_that_is_sent_twice_starts_one_operation(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    fields = fields_of(press(console, subscription.app, "retry_failed").text)  # type: ignore[attr-defined]
    first, second = (press(console, subscription.app, "retry_failed", **fields) for _ in range(2))
    assert first.url == second.url  # type: ignore[attr-defined]
    assert Operation.objects.count() == 1


@pytest.fixture
def many() -> App:
    """1,200 failed subscriptions of an app, five that are synced, and five failed ones of another."""
    app, other = factories.AppFactory(name="acme"), factories.AppFactory(name="other")
    repositories = Repository.objects.bulk_create(factories.RepositoryFactory.build_batch(1_200))
    failed = {"status": "failed", "due_at": None, "error_kind": "endpoint_error", "failed_at": "2026-01-01T00:00:00Z"}
    rows = [Subscription(app=app, repository=repository, **failed) for repository in repositories]
    rows += [Subscription(app=other, repository=repository, **failed) for repository in repositories[:5]]
    Subscription.objects.bulk_create(rows)
    synced = Repository.objects.bulk_create(factories.RepositoryFactory.build_batch(5))
    Subscription.objects.bulk_create(Subscription(app=app, repository=r, status="synced", due_at=None) for r in synced)
    return app


def test_all_that_a_filter_leaves_is_taken_without_an_id_in_the_form(
    many: App, console: Client, settings: Settings
) -> None:
    url = f"{reverse(LIST)}?app__exact={many.pk}&p=2"
    first = Subscription.objects.filter(app=many).values_list("pk", flat=True)[:1]
    across = {"action": "retry_selected", "select_across": "1", "_selected_action": list(first)}

    page = console.post(url, across).text

    assert "Retry 1,200 failed notifications?" in page
    assert "1,205 were selected" in page
    assert len(page) < 20_000
    fields = fields_of(page)
    without_count = console.post(url, fields)
    assert "Failed to start bulk retry: This is about 1,200 subscriptions" in said(console, without_count)
    assert not Operation.objects.exists()

    # Between the preview and its confirmation: one is well again, another fails, and one more joins.
    well, again = Subscription.objects.filter(app=many, status="failed")[:2]
    Subscription.objects.filter(pk=well.pk).update(status="synced")
    Subscription.objects.filter(pk=again.pk).update(failed_at="2100-01-01T00:00:00Z")
    factories.SubscriptionFactory(app=many, failed=True, failed_at="2100-01-01T00:00:00Z")
    with CaptureQueriesContext(connection) as queries:
        response = console.post(url, {**fields, "count": "1200"})
    asked = [query["sql"] for query in queries]  # before the next request forgets them

    assert said(console, response) == (
        "Retry queued for 1,198 subscriptions; 2 of those that were shown no longer qualify"
    )
    operation = Operation.objects.get()
    assert (operation.total, operation.items.filter(app_name="acme").count()) == (1_198, 1_198)
    assert operation.scope_text == f"all failed subscriptions of the list (app: {many.pk})"
    assert 10 < len(asked) < 30
    assert sum(len(sql) for sql in asked) < 60_000


def test_a_re_sync_of_a_list_does_not_grow(console: Client) -> None:
    factories.SubscriptionFactory(synced=True)
    failed = factories.SubscriptionFactory(failed=True)
    url = f"{reverse(LIST)}?status__exact=synced"
    across = {"action": "resync_selected", "select_across": "1", "_selected_action": ["all"]}
    fields = fields_of(console.post(url, across).text)
    Subscription.objects.filter(pk=failed.pk).update(status="synced")

    answer = console.post(url, fields)

    assert "Failed to queue re-sync: It would be about 2 subscriptions by now" in said(console, answer)
    assert not Operation.objects.exists()
    console.post(url, fields_of(answer.text))  # the page that came with it asks anew
    assert Operation.objects.get().total == 2


def test_an_app_is_retried_and_re_synced_as_a_whole(console: Client) -> None:
    snapshot = factories.SnapshotFactory(files=4_512, bytes=31_000_000)
    one = factories.SubscriptionFactory(
        app__name="acme", repository=snapshot.repository, failed=True, snapshot=snapshot
    )
    factories.SubscriptionFactory(app=one.app, synced=True)
    factories.SubscriptionFactory(failed=True)

    retry = press(console, one.app, "retry_failed").text  # type: ignore[attr-defined]
    assert "Retry 1 failed notification?" in retry
    page = press(console, one.app, "resync_all").text  # type: ignore[attr-defined]
    assert "Re-sync all repositories for acme?" in page
    assert "This will re-send all files for 2 repositories: about 4,512 files (31 MB)." in page
    answer = said(console, press(console, one.app, "resync_all", **fields_of(page)))
    assert answer == "Re-sync queued for 2 repositories"
    assert Operation.objects.get().scope_text == "all subscriptions of acme"


def test_a_repository_is_retried_and_re_synced_as_a_whole(console: Client) -> None:
    one = factories.SubscriptionFactory(repository__name="owner/repo", synced=True)
    factories.SubscriptionFactory(repository=one.repository, synced=True)
    page = press(console, one.repository, "resync_all").text  # type: ignore[attr-defined]
    assert "Re-sync owner/repo for all apps?" in page
    answer = said(console, press(console, one.repository, "resync_all", **fields_of(page)))
    assert answer == "Re-sync queued for 2 apps"
    nothing = press(console, one.repository, "retry_failed")
    assert said(console, nothing) == "Failed to start bulk retry: there is no failed subscription that is not paused."


def test_a_digest_of_a_retry_starts_no_re_sync(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    fields = fields_of(press(console, subscription.app, "retry_failed").text)  # type: ignore[attr-defined]
    answer = said(console, press(console, subscription.app, "resync_all", **fields))
    assert answer == "Failed to queue re-sync: The digest is of a retry, not of a resync."
    assert not Operation.objects.exists()


def test_cancel_pause_and_resume(console: Client) -> None:
    operation = operation_with_items(waiting=2)
    assert said(console, press(console, operation, "pause")).startswith("Paused")
    operation.refresh_from_db()
    assert (operation.status, operation.reason) == ("paused", "Paused by admin.")
    assert said(console, press(console, operation, "resume")) == "Resumed."
    assert said(console, press(console, operation, "cancel")).startswith("Cancelled")
    operation.refresh_from_db()
    assert (operation.status, operation.cancelled) == ("cancelled", 2)
    assert "only a running one can be paused" in said(console, press(console, operation, "pause"))
    assert [entry.text for entry in deeds()] == ["Paused.", "Resumed.", "Cancelled."]


def test_what_failed_is_retried_as_a_linked_operation(console: Client) -> None:
    operation = operation_with_items(failed=2, succeeded=1)
    assert "has not ended" in said(console, press(console, operation, "retry_failed"))
    Operation.objects.update(status="finished", finished_at=Now())
    Subscription.objects.update(status="failed", failed_at="2026-01-01T00:00:00Z", due_at=None)

    page = press(console, operation, "retry_failed").text  # type: ignore[attr-defined]
    answer = said(console, press(console, operation, "retry_failed", **fields_of(page)))

    assert answer == "Retry queued for 2 subscriptions"
    again = operation.retried_by.get()
    assert again.scope_text == f"what failed in operation {str(operation.pk)[:8]}"
    page = console.get(reverse("admin:syncsvc_operation_change", args=[again.pk])).text
    assert reverse("admin:syncsvc_operation_change", args=[operation.pk]) in page


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("model", [Operation, OperationItem])
def test_a_list_needs_as_many_queries_for_one_row_as_for_many(
    model: type, rows: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    if model is Operation:
        factories.OperationFactory.create_batch(rows, status="finished")
    else:
        factories.OperationItemFactory.create_batch(rows)
    url = reverse(f"admin:syncsvc_{model.__name__.lower()}_changelist")
    console.get(url)
    with django_assert_num_queries(7 if model is Operation else 6):  # and what goes on, above the list
        response = console.get(url)
    assert len(response.context["cl"].result_list) == rows


def test_items_are_found_by_operation_status_and_name(console: Client) -> None:
    operation = operation_with_items(succeeded=1, failed=1)
    factories.OperationItemFactory(status="failed")
    url = reverse("admin:syncsvc_operationitem_changelist")
    of_it = {"operation__exact": str(operation.pk)}
    assert console.get(url, of_it).context["cl"].result_count == 2
    (failed,) = console.get(url, {**of_it, "status__exact": "failed"}).context["cl"].result_list
    found = console.get(url, {"q": failed.repository_name}).context["cl"].result_list
    assert failed in found
    assert console.get(reverse("admin:syncsvc_operationitem_change", args=[failed.pk])).status_code == 200
    gone = factories.OperationItemFactory(subscription=None)
    assert console.get(reverse("admin:syncsvc_operationitem_change", args=[gone.pk])).status_code == 200


def test_nobody_writes_operations(console: Client) -> None:
    operation = operation_with_items(succeeded=1)
    url = reverse("admin:syncsvc_operation_change", args=[operation.pk])
    assert console.post(url, {}).status_code == 403
    assert console.get(reverse("admin:syncsvc_operation_delete", args=[operation.pk])).status_code == 403
    assert console.get(reverse("admin:syncsvc_operation_pause", args=[operation.pk])).status_code == 405


# (button, on what, who may press it)
BUTTONS = [
    ("retry", "subscription", {"operator", "administrator"}),
    ("resync", "subscription", {"administrator"}),
    ("retry_failed", "app", {"operator", "administrator"}),
    ("resync_all", "app", {"administrator"}),
    ("retry_failed", "repository", {"operator", "administrator"}),
    ("resync_all", "repository", {"administrator"}),
    ("cancel", "operation", {"operator", "administrator"}),
    ("pause", "operation", {"operator", "administrator"}),
    ("retry_failed", "operation", {"operator", "administrator"}),
]


@pytest.mark.parametrize("group", ["viewer", "operator", "administrator"])
@pytest.mark.parametrize(("button", "what", "allowed"), BUTTONS)
def test_who_may_press_which_button(group: str, button: str, what: str, allowed: set[str]) -> None:
    client = in_group(group)
    subscription = factories.SubscriptionFactory(failed=True)
    operation = operation_with_items(waiting=1) if button != "retry_failed" else operation_with_items(failed=1)
    if button == "retry_failed":
        Operation.objects.update(status="finished", finished_at=Now())
        Subscription.objects.update(status="failed", failed_at="2026-01-01T00:00:00Z", due_at=None)
    rows = {"subscription": subscription, "app": subscription.app, "repository": subscription.repository}
    row = {**rows, "operation": operation}[what]
    page = client.get(reverse(f"admin:syncsvc_{what}_change", args=[row.pk])).text

    response = press(client, row, button)

    assert (f"/{button}/" in page) is (group in allowed)
    assert response.status_code == (403 if group not in allowed else response.status_code)  # type: ignore[attr-defined]
    assert response.status_code in ((200, 302) if group in allowed else (403,))  # type: ignore[attr-defined]


@pytest.mark.parametrize("group", ["viewer", "operator", "administrator"])
@pytest.mark.parametrize(
    ("action", "allowed"),
    [("retry_selected", {"operator", "administrator"}), ("resync_selected", {"administrator"})],
)
def test_who_may_take_which_action(group: str, action: str, allowed: set[str], console: Client) -> None:
    client = in_group(group)
    subscription = factories.SubscriptionFactory(failed=True)
    ticked = {"action": action, "_selected_action": [subscription.pk]}
    fields = fields_of(console.post(reverse(LIST), ticked).text)  # of somebody who may

    offered = client.get(reverse(LIST)).text
    client.post(reverse(LIST), fields)

    assert (f'value="{action}"' in offered) is (group in allowed)
    assert Operation.objects.exists() is (group in allowed)


def test_without_the_permission_to_see_operations_one_is_led_back(staff: Callable[..., Client]) -> None:
    client = staff("view_app", "bulk_retry")
    subscription = factories.SubscriptionFactory(failed=True)
    fields = fields_of(press(client, subscription.app, "retry_failed").text)  # type: ignore[attr-defined]
    response = press(client, subscription.app, "retry_failed", **fields)
    assert response.url == reverse("admin:syncsvc_app_change", args=[subscription.app_id])  # type: ignore[attr-defined]
