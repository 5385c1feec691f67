"""The page of an operation, and the list with those that go on above it."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from syncsvc.models import Operation, OperationItem
from syncsvc.operations import control
from syncsvc.operations.progress import publish
from tests import factories
from tests.admin.test_operations import operation_with_items
from tests.operations.fleet import ASKER

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
LIST = "/admin/syncsvc/operation/"
SUBSCRIPTION = '<td><a href="/admin/syncsvc/subscription/'


def page_of(operation: Operation) -> str:
    return reverse("admin:syncsvc_operation_change", args=[operation.pk])


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_page_shows_how_far_it_is_and_why_some_failed(console: Client) -> None:
    operation = operation_with_items(succeeded=12, failed=3, running=2, waiting=6)

    page = console.get(page_of(operation)).text

    assert '<progress class="wide" max="23" value="15" aria-label="Bulk retry: completed">' in page
    said = words(page)
    assert "15/23 completed" in said
    assert "Succeeded 12 Failed 3 Skipped 0 Cancelled 0 Running 2 Waiting 6" in said
    assert "git_auth 3 The remote refuses the token." in said
    assert "?outcome=failed&amp;kind=git_auth#items" in page
    assert "Bulk retry of all failed subscriptions" in said


def test_thousands_read_alike_on_the_page_in_the_list_and_in_the_bar(console: Client) -> None:
    operation = factories.OperationFactory(total=12_345, waiting=12_345, status="paused")

    pages = [page_of(operation), LIST, f"{LIST}?status__exact=paused", f"{page_of(operation)}?part=progress"]
    for page in pages:
        assert "0/12,345 completed" in words(console.get(page, headers=HTMX if "part=" in page else {}).text), page


def test_at_the_end_it_says_what_came_of_it(console: Client) -> None:
    operation = operation_with_items(succeeded=20, failed=3)
    Operation.objects.update(status="finished", finished_at=Now())

    page = console.get(page_of(operation)).text
    assert "Bulk retry complete: 20 succeeded, 3 failed" in page
    assert "/retry_failed/" in page
    assert "data-every" not in page

    Operation.objects.update(status="running", finished_at=None)
    operation.refresh_from_db()
    part = console.get(f"{page_of(operation)}?part=progress", headers=HTMX)
    assert part.status_code == 200
    Operation.objects.update(status="finished", finished_at=Now())
    part = console.get(f"{page_of(operation)}?part=progress", headers=HTMX)
    assert part.status_code == 286
    assert "Bulk retry complete: 20 succeeded, 3 failed" in part.headers["HX-Trigger"]
    assert "changed" in part.headers["HX-Trigger-After-Swap"]


@pytest.mark.parametrize("items", [1, 40])
def test_the_page_needs_as_many_queries_for_one_item_as_for_many(
    items: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operation = operation_with_items(failed=items, succeeded=items)
    Operation.objects.update(status="finished", finished_at=Now())
    console.get(page_of(operation))
    # The user, the operation, its errors (two), its items, what retries it.
    with django_assert_num_queries(6):
        console.get(page_of(operation))


@pytest.mark.parametrize("part", ["progress", "items"])
def test_its_polled_parts_cost_two_queries(
    part: str, staff: Callable[..., Client], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operation = operation_with_items(failed=2, waiting=20)
    client = staff("view_operation")
    address = f"{page_of(operation)}?part={part}"
    client.get(address, headers=HTMX)

    with django_assert_num_queries(2):
        assert client.get(address, headers=HTMX).status_code == 200


def test_who_has_the_items_already_is_sent_nothing(console: Client) -> None:
    operation = operation_with_items(failed=2, waiting=1)
    page = console.get(page_of(operation)).text
    (address,) = re.findall(r'hx-get="(\?part=items[^"]*)"', page)

    assert console.get(page_of(operation) + unescape(address), headers=HTMX).status_code == 204


def test_without_redis_the_page_still_works(console: Client, settings: Settings) -> None:
    operation = operation_with_items(succeeded=12, failed=3, waiting=6)
    publish(operation.pk)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert "15/21 completed" in console.get(page_of(operation)).text
    assert "15/21 completed" in console.get(f"{page_of(operation)}?part=progress", headers=HTMX).text
    assert "git_auth" in console.get(f"{page_of(operation)}?part=items", headers=HTMX).text


def test_items_are_chosen_by_outcome_and_kind_and_come_in_pages(console: Client) -> None:
    operation = operation_with_items(succeeded=3, failed=2, waiting=0)
    Operation.objects.update(status="finished", finished_at=Now())
    OperationItem.objects.filter(status="failed").first().delete()  # type: ignore[union-attr]

    def shown(**query: str) -> int:
        return console.get(page_of(operation), query).text.count(SUBSCRIPTION)

    assert shown(outcome="succeeded") == 3
    assert shown(outcome="failed", kind="git_auth") == 1
    assert shown(outcome="nonsense", kind="nonsense", after="x") == 4
    assert "Show all" in console.get(page_of(operation), {"outcome": "cancelled"}).text

    many = operation_with_items(succeeded=51)
    first = console.get(page_of(many)).text
    (after,) = re.findall(r"after=(\d+)#items", first)
    assert console.get(page_of(many), {"after": after}).text.count('class="badge good"') == 1


def test_a_deleted_subscription_keeps_its_name(console: Client) -> None:
    item = factories.OperationItemFactory(subscription=None, status="succeeded")
    assert "an-app/owner/gone" in console.get(page_of(item.operation)).text


@pytest.mark.parametrize("press", ["cancel", "pause", "resume"])
def test_controls_change_the_page_in_place(press: str, console: Client) -> None:
    operation = operation_with_items(waiting=2)
    if press == "resume":
        control.pause(operation.pk, ASKER)

    answer = console.post(reverse(f"admin:syncsvc_operation_{press}", args=[operation.pk]), headers=HTMX)

    assert answer.status_code == 204
    assert f"changed-{operation.pk}" in answer.headers["HX-Trigger"]


def test_cancelling_says_what_it_leaves_and_what_ends(console: Client) -> None:
    operation = operation_with_items(waiting=6, running=2, succeeded=1)
    question = console.get(reverse("admin:syncsvc_operation_cancel", args=[operation.pk]), headers=HTMX).text
    assert "Not begun, and left as they were: 6 subscriptions." in question


@pytest.mark.parametrize("going_on", [1, 8])
def test_the_list_has_what_goes_on_above_what_has_ended(
    going_on: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.OperationFactory.create_batch(going_on, scope_text="all subscriptions of acme")
    factories.OperationFactory(status="finished", scope_text="all subscriptions of other")
    console.get(LIST)

    # As any history: the user, a time limit within a transaction, a count, the rows; and what goes on.
    with django_assert_num_queries(7):
        response = console.get(LIST)

    assert response.text.count('class="operation-bar"') == going_on
    assert [row.scope_text for row in response.context["cl"].result_list] == ["all subscriptions of other"]
    filtered = console.get(LIST, {"status__exact": "running"})
    assert len(filtered.context["cl"].result_list) == going_on
    assert 'class="operation-bar"' not in filtered.text


def test_an_empty_list_says_where_operations_come_from(console: Client) -> None:
    assert "No operation yet" in console.get(LIST).text
    assert "No operation yet" not in console.get(LIST, {"q": "nothing"}).text


def test_the_page_is_for_those_who_may_see_operations(staff: Callable[..., Client]) -> None:
    operation = operation_with_items(waiting=1)
    assert staff("view_app").get(page_of(operation)).status_code == 403
    looker = staff("view_operation")
    page = looker.get(page_of(operation)).text
    assert "/cancel/" not in page
    assert looker.post(reverse("admin:syncsvc_operation_cancel", args=[operation.pk])).status_code == 403
