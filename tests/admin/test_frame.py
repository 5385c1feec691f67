"""What htmx is answered: dialogs, toasts, events, parts, and never a whole page in place of a part."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import models
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from syncsvc.models import Operation, Status, Subscription
from syncsvc.operations import control
from syncsvc.operations.asker import Asker
from tests import factories

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def address(row: Any, press: str = "change") -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_{press}", args=[row.pk])


def events(response: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.headers["HX-Trigger"])
    return found


def digest_of(response: Any) -> str:
    (digest,) = re.findall(r'name="digest" value="([^"]+)"', response.text)
    return str(digest)


def test_a_confirmation_is_the_dialogs_content_for_htmx_and_else_a_page(console: Client) -> None:
    subscription = factories.SubscriptionFactory(synced=True, app__name="acme", repository__name="owner/repo")
    factories.SnapshotFactory(repository=subscription.repository, files=4_512, bytes=31_000_000)

    page = console.get(address(subscription, "resync"))
    dialog = console.get(address(subscription, "resync"), headers=HTMX)

    for text in (page.text, dialog.text):
        assert "Re-sync owner/repo for acme?" in text
        assert "This sends about 4,512 files (31 MB) again." in text
    assert "<html" in page.text
    assert "<html" not in dialog.text
    assert "data-cancel autofocus" in dialog.text
    subscription.refresh_from_db()
    assert subscription.epoch == 1


def test_a_retry_answers_with_a_toast_events_and_the_badge_as_it_is_now(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True, repository__name="owner/repo")

    answer = console.post(address(subscription, "retry"), headers=HTMX)

    assert events(answer) == {
        "close-dialog": {},
        "changed": {},
        f"changed-{subscription.pk}": {},
        "toast": {"toasts": [{"level": "success", "text": "Retry queued for owner/repo"}]},
    }
    assert f'hx-swap-oob="outerHTML:.status-{subscription.pk}"' in answer.text
    assert "Pending" in answer.text
    assert "part=status" in answer.text

    again = events(console.post(address(subscription, "retry"), headers=HTMX))["toast"]["toasts"]
    assert again == [{"level": "error", "text": "Failed to queue retry: A retry is already in progress"}]


def test_a_badge_is_followed_to_the_end_of_its_run(console: Client) -> None:
    subscription = factories.SubscriptionFactory()
    url = f"{address(subscription)}?part=status"
    assert console.get(url, headers=HTMX).status_code == 200
    Subscription.objects.update(status=Status.SYNCED, due_at=None)
    last = console.get(url, headers=HTMX)
    assert (last.status_code, "hx-get" in last.text, "Synced" in last.text) == (286, False, True)


def test_the_badges_of_a_page_are_asked_for_at_once(
    console: Client, staff: Callable[..., Client], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    failed, synced = factories.SubscriptionFactory(failed=True), factories.SubscriptionFactory(synced=True)
    url = reverse("admin:syncsvc_subscription_statuses")
    console.get(url, headers=HTMX)
    with django_assert_num_queries(2):
        text = console.get(url, {"ids": f"{failed.pk},{synced.pk},nonsense"}, headers=HTMX).text
    assert text.count("hx-swap-oob") == 2
    assert "Failed" in text
    assert "Synced" in text
    assert staff("view_app").get(url, {"ids": str(failed.pk)}, headers=HTMX).status_code == 403


def test_an_operation_is_started_in_place_and_its_bar_ends_with_a_summary(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    press = address(subscription.app, "retry_failed")
    dialog = console.get(press, headers=HTMX)

    answer = console.post(press, {"digest": digest_of(dialog)}, headers=HTMX)

    operation = Operation.objects.get()
    assert events(answer)["toast"]["toasts"][0]["text"] == "Retry queued for 1 subscription"
    assert f"changed-{operation.pk}" in events(answer)
    buttons = console.get(f"{address(subscription.app)}?part=buttons", headers=HTMX).text
    assert "0/1 completed" in buttons
    assert "Retry all failed" not in buttons
    assert "Re-sync all" in buttons
    bar = f"{address(operation)}?part=bar"
    assert console.get(bar, headers=HTMX).status_code == 200

    control.cancel(operation.pk, Asker(name="another", source=Operation.Source.COMMAND))
    last = console.get(bar, headers=HTMX)
    assert last.status_code == 286
    assert "Bulk retry cancelled: 0 succeeded, 0 failed, 1 cancelled" in last.text
    assert events(last)["toast"]["toasts"][0]["text"].startswith("Bulk retry cancelled")
    assert "changed" in events(last)
    buttons = console.get(f"{address(subscription.app)}?part=buttons", headers=HTMX).text
    assert "Bulk retry cancelled" in buttons
    assert "Retry all failed" in buttons


def test_a_started_operation_of_a_list_shows_its_bar_at_the_head_of_the_page(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    url = reverse("admin:syncsvc_subscription_changelist")
    ticked = {"action": "retry_selected", "_selected_action": [subscription.pk]}
    dialog = console.post(url, ticked, headers=HTMX)
    assert "Retry 1 failed notification?" in dialog.text

    answer = console.post(url, {**ticked, "digest": digest_of(dialog)}, headers=HTMX)

    assert 'hx-swap-oob="beforeend:#started"' in answer.text
    assert "0/1 completed" in answer.text
    assert answer.headers["HX-Reswap"] == "none"


def test_a_refused_confirmation_asks_anew_in_the_dialog(console: Client, settings: Any) -> None:
    settings.BULK_CONFIRM_OVER = 1
    app = factories.AppFactory()
    factories.SubscriptionFactory.create_batch(2, app=app, failed=True)
    press = address(app, "retry_failed")
    dialog = console.get(press, headers=HTMX)
    assert "type the number of subscriptions (2)" in dialog.text

    refused = console.post(press, {"digest": digest_of(dialog), "count": "3"}, headers=HTMX)

    assert "<html" not in refused.text
    assert 'role="alert">Failed to start bulk retry: This is about 2 subscriptions' in refused.text
    assert not Operation.objects.exists()
    console.post(press, {"digest": digest_of(refused), "count": "2"}, headers=HTMX)
    assert Operation.objects.get().total == 2


def test_nothing_to_do_is_a_toast_and_no_dialog(console: Client) -> None:
    app = factories.SubscriptionFactory(synced=True).app
    answer = console.get(address(app, "retry_failed"), headers=HTMX)
    assert answer.status_code == 204
    text = "Failed to start bulk retry: there is no failed subscription that is not paused."
    assert events(answer)["toast"]["toasts"] == [{"level": "error", "text": text}]


def test_a_redirect_leads_the_page_on_and_puts_no_page_into_a_part(console: Client) -> None:
    url = reverse("admin:syncsvc_subscription_changelist")
    answer = console.post(url, {"action": "retry_selected", "index": "0"}, headers=HTMX)  # nothing is ticked
    assert answer.headers["HX-Redirect"] == url
    assert "Location" not in answer.headers


def test_who_sends_a_form_without_a_login_learns_that_nothing_was_saved(client: Client) -> None:
    address = reverse("admin:syncsvc_app_add")
    answer = client.post(address, {"name": "shop", "url": "https://shop.example.com/"}, follow=True)
    assert answer.redirect_chain == [(f"{reverse('admin:login')}?next={address}", 302)]
    assert "Nothing was saved" in answer.text
    assert "Nothing was saved" not in client.get(address, follow=True).text
    for _ in range(30):  # what does not fit into a cookie would be a session: rows that strangers make
        client.post(address)
    assert client.get(address, follow=True).text.count("Nothing was saved") == 1
    assert not Session.objects.exists()


def test_who_is_not_logged_in_is_told_so_by_a_header(client: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    for answer in (
        client.get(f"{address(subscription)}?part=status", headers=HTMX),
        client.post(address(subscription, "retry"), headers=HTMX),
    ):
        assert answer.status_code == 401
        assert events(answer) == {"logged-out": {"login": reverse("admin:login")}}
        assert not answer.content
    assert client.get(address(subscription)).status_code == 302


def test_an_unknown_part_is_not_found_and_without_htmx_there_are_none(console: Client) -> None:
    app = factories.AppFactory()
    assert console.get(f"{address(app)}?part=nonsense", headers=HTMX).status_code == 404
    assert console.get(f"{address(app)}?part=../x", headers=HTMX).status_code == 200  # no name: the whole page
    assert "<html" in console.get(f"{address(app)}?part=buttons").text


@pytest.mark.parametrize("what", ["status", "bar"])
def test_a_polled_part_costs_two_queries(
    what: str, staff: Callable[..., Client], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = staff("view_subscription", "view_operation")
    row = factories.SubscriptionFactory() if what == "status" else factories.OperationFactory()
    url = f"{address(row)}?part={what}"
    client.get(url, headers=HTMX)
    with django_assert_num_queries(2):
        assert client.get(url, headers=HTMX).status_code == 200


def test_parts_are_for_those_who_may_see_the_rows(staff: Callable[..., Client]) -> None:
    subscription, operation = factories.SubscriptionFactory(failed=True), factories.OperationFactory()
    stranger = staff("view_app")
    for row, part in ((subscription, "status"), (operation, "bar"), (subscription.app, "nonsense")):
        expected = 404 if row is subscription.app else 403
        assert stranger.get(f"{address(row)}?part={part}", headers=HTMX).status_code == expected


def test_without_javascript_a_button_leads_back_to_the_page_it_stands_on(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)
    page = "http://testserver/admin/?page=2"
    answer = console.post(address(subscription, "retry"), headers={"Referer": page})
    assert answer.headers["Location"] == "/admin/?page=2"
    for elsewhere in ("https://evil.example.com/", f"http://testserver{address(subscription, 'retry')}", ""):
        answer = console.post(address(subscription, "retry"), headers={"Referer": elsewhere})
        assert answer.headers["Location"] == address(subscription)


def test_the_navigation_has_what_one_may_see_and_says_where_one_is(staff: Callable[..., Client]) -> None:
    page = staff("view_app", "view_syncrun").get(reverse("admin:syncsvc_syncrun_changelist")).text
    (navigation,) = re.findall(r'<nav id="navigation".*?</nav>', page, flags=re.DOTALL)
    assert re.findall(r">([A-Z][a-z ]+)<", navigation) == ["Overview", "Apps", "History", "Runs"]
    assert re.findall(r'aria-current="page">([^<]+)<', navigation) == ["Runs"]


@pytest.mark.parametrize(
    "address",
    [
        "failures/?cause=x@%00",
        "syncsvc/subscription/?app__exact=%00",
        "syncsvc/subscription/?error_kind=%00",
        "syncsvc/syncrun/?subscription__exact=a%00/b",
        "syncsvc/repository/?error_kind__exact=%00",
        "failures/retry/git_auth/%00/",
    ],
)
def test_an_address_that_no_text_of_the_database_can_match_is_not_found(console: Client, address: str) -> None:
    """PostgreSQL refuses a NUL with an error."""
    factories.SubscriptionFactory(failed=True)
    assert console.get(f"/admin/{address}").status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        *("deliveredfile/?path=x", "deliveryattempt/?path__startswith=x", "app/?secret=x", "operation/?address=x"),
        *("app/?previous_secrets=x", "app/?failing_messages=x", "apitoken/?scopes=x", "operation/?scope=x"),
        "snapshot/?unsafe_examples=x",
    ],
)
def test_no_address_filters_by_bytes_lists_or_ips(console: Client, address: str) -> None:
    factories.DeliveredFileFactory()
    assert console.get(f"/admin/syncsvc/{address}").status_code == 400


def test_an_address_compares_in_no_way_that_filters_do_not(console: Client) -> None:
    """Nor breaks in any: a beginning, a pattern or a range would tell a hidden value letter by letter."""
    for comparison in models.TextField.get_lookups():
        answer = console.get(f"/admin/syncsvc/apitoken/?digest__{comparison}=a")
        assert answer.status_code in ((200, 302) if comparison in ("exact", "in", "isnull") else (400,)), comparison


@pytest.mark.parametrize(
    "address",
    [
        "app/?name__range=a",
        "app/?previous_secrets__0__token__startswith=g",
        "app/?previous_secrets__len=1",
        "snapshot/?unsafe_examples__in=a",
        "subscription/?app__exact__range=a",
        "subscription/?id__in__exact=a",
        "apitoken/?user__password__startswith=p",
    ],
)
def test_nor_within_what_a_column_holds(console: Client, address: str) -> None:
    assert console.get(f"/admin/syncsvc/{address}").status_code == 400
