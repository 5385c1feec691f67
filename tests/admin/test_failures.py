"""The page of failures: by cause and one by one, filtered, paged, and with a price that rows do not raise."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from syncsvc.admin import failing
from syncsvc.models import App, Operation, Status, Subscription
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory, SyncRunFactory

pytestmark = pytest.mark.django_db
URL = "/admin/failures/"
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def fail(app: str = "acme", repository: str = "", *, minutes: int = 10, **values: Any) -> Subscription:
    since = timezone.now() - timedelta(minutes=minutes)
    rows: dict[str, Any] = {
        "app": App.objects.filter(name=app).first() or AppFactory(name=app, url=f"https://{app}.example/hook"),
        "failing_since": since,
    }
    if repository:
        rows["repository"] = RepositoryFactory(name=repository, url=f"https://git.example/{repository}.git")
    subscription: Subscription = SubscriptionFactory(failed=True, **rows, **values)
    return subscription


def retrying(app: str = "acme", **values: Any) -> Subscription:
    waits = {"status": Status.PENDING, "retry_count": 2, "due_at": timezone.now() + timedelta(minutes=5)}
    return fail(app, **{**waits, **values})


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode()))


def names(response: Any) -> list[str]:
    return re.findall(r'<div class="who"><a href="[^"]*">([^<]*)', response.content.decode())


def queries(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert call().status_code == 200
    return len(seen)


def test_failures_are_grouped_by_cause_with_since_and_an_example(console: Client) -> None:
    fail(minutes=180, last_error="The endpoint failed with 500.")
    retrying(minutes=200)
    fail("beta", error_kind="endpoint_timeout")
    fail("beta", "owner/docs", error_kind="git_auth", last_error="The remote refused the credential.")

    shown = text(console.get(URL))

    assert "3 failed, 1 retrying of 4 subscriptions, for 3 causes" in shown
    assert "endpoint_error acme.example 1 failed, 1 retrying since 3 h ago The endpoint failed with 500." in shown
    assert "endpoint_timeout beta.example 1 failed" in shown
    assert "git_auth git.example 1 failed" in shown
    assert shown.count("Retry this cause") == 3
    assert "Retry all failed" in shown


def test_what_is_paused_is_not_said_to_try_by_itself(console: Client) -> None:
    retrying(is_active=False)
    assert "tries again when it is resumed" in text(console.get(URL))
    retrying()
    failing.forget_numbers()
    assert "try again by themselves, 1 of them when resumed" in text(console.get(URL))


def test_what_only_retries_needs_no_button_and_says_so(console: Client) -> None:
    retrying()

    shown = text(console.get(URL))

    assert "1 retrying" in shown
    assert "tries again by itself" in shown
    assert "Retry this cause" not in shown
    assert "Retrying" in shown


def test_nothing_failed_says_what_to_do(console: Client) -> None:
    assert "Nothing failed There is no subscription yet." in text(console.get(URL))
    SubscriptionFactory(synced=True)
    cache.clear()
    assert "Nothing failed No subscription has failed since its last success" in text(console.get(URL))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["acme/a", "acme/b", "beta/c"]),
        ({"cause": "endpoint_timeout@beta.example"}, ["beta/c"]),
        ({"cause": "endpoint_error@beta.example"}, []),
        ({"state": "retrying"}, ["acme/b"]),
        ({"state": "failed"}, ["acme/a", "beta/c"]),
        ({"q": "eta/C"}, ["beta/c"]),
        ({"app": "acme", "q": "b"}, ["acme/b"]),
        ({"app": "no id", "cause": "nonsense", "after": "nonsense"}, ["acme/a", "acme/b", "beta/c"]),
    ],
)
def test_the_list_is_filtered_and_searched(console: Client, query: dict[str, str], found: list[str]) -> None:
    app = fail("acme", "a", minutes=1).app
    retrying("acme", repository="b", minutes=2)
    fail("beta", "c", minutes=3, error_kind="endpoint_timeout")
    if query.get("app") == "acme":
        query = {**query, "app": str(app.pk)}

    response = console.get(URL, query)

    assert names(response) == found
    assert ("Nothing that fits" in text(response)) == (not found)


def test_pages_follow_each_other_and_show_each_row_once(console: Client) -> None:
    rows = [fail("acme", f"r{n:03}", minutes=n) for n in range(failing.PAGE + 5)]
    Subscription.objects.update(failing_since=Now())  # all at once, as after an outage

    first = console.get(URL)
    older = re.search(r'href="(\?after=[^"#]*)[^"]*">Older', first.content.decode())
    assert older
    second = console.get(URL + older[1].replace("&amp;", "&"))

    assert len(names(first)) == failing.PAGE
    assert {*names(first), *names(second)} == {str(row) for row in rows}
    assert "Newest" in text(second)


def test_a_row_that_is_retried_stays_where_it_was_and_new_ones_come_above(console: Client) -> None:
    rows = [fail("acme", f"r{n}", minutes=n + 1) for n in range(3)]
    kept = ",".join(str(row.pk) for row in rows)
    Subscription.objects.filter(pk=rows[1].pk).update(
        status=Status.SYNCED, due_at=None, retry_count=0, error_kind="", failing_since=None, failed_at=None
    )
    fail("acme", "new", minutes=0)
    console.get(URL)

    part = console.get(URL, {"part": "list", "kept": kept, "next": "c"}, headers=HTMX)

    assert names(part) == ["acme/new", "acme/r0", "acme/r1", "acme/r2"]
    assert "acme/r1Synced" in text(part)
    assert 'name="next" value="c"' in part.content.decode()
    assert "kept=" not in part.content.decode()
    assert 'data-every="15"' in part.content.decode()


def test_a_list_asks_often_while_something_in_it_runs(console: Client) -> None:
    row = fail()
    Subscription.objects.filter(pk=row.pk).update(status=Status.PENDING, due_at=Now(), retry_count=0)

    part = console.get(URL, {"part": "list", "kept": str(row.pk)}, headers=HTMX)

    assert 'data-every="2"' in part.content.decode()


def test_a_list_that_looks_the_same_is_not_sent_again(console: Client) -> None:
    row = fail()
    console.get(URL)
    asked = {"part": "list", "kept": str(row.pk)}
    shown = console.get(URL, asked, headers=HTMX).content.decode()
    version = re.search(r"&amp;v=([0-9a-f]+)", shown)
    assert version

    same = console.get(URL, {**asked, "v": version[1]}, headers=HTMX)
    Subscription.objects.update(retry_count=7)
    other = console.get(URL, {**asked, "v": version[1]}, headers=HTMX)

    assert (same.status_code, same.content) == (204, b"")
    assert other.status_code == 200
    assert other.content.decode().count("v=") == 1


def test_a_cause_is_asked_for_retried_and_shows_its_bar_instead_of_the_button(console: Client) -> None:
    fail("acme", "a")
    fail("acme", "b", error_kind="endpoint_timeout")
    address = "/admin/failures/retry/endpoint_error/acme.example/"
    asked = console.get(address, headers=HTMX).content.decode()
    assert "Retry 1 failed notification?" in asked
    assert console.get(address).status_code == 200  # the same as a page
    digest = re.search(r'name="digest" value="([^"]*)"', asked)
    assert digest

    answer = console.post(address, {"digest": digest[1]}, headers=HTMX)

    assert answer.headers["HX-Trigger"].count("Retry queued for 1 subscription") == 1
    operation = Operation.objects.get()
    assert (operation.total, operation.scope["host"]) == (1, "acme.example")
    part = console.get(URL, {"part": "causes"}, headers=HTMX)
    assert "0/1 completed" in text(part)
    assert text(part).count("Retry this cause") == 1
    assert 'data-every="2"' in part.content.decode()
    # Whose failures are gone while it goes on keeps its bar.
    Subscription.objects.filter(error_kind="endpoint_error").update(status=Status.SYNCED, due_at=None, error_kind="")
    cache.clear()
    assert "endpoint_error acme.example nothing left" in text(console.get(URL))


def test_all_that_failed_is_retried_by_one_button(console: Client) -> None:
    fail("acme", "a")
    fail("beta", "b", error_kind="git_auth")
    asked = console.get("/admin/failures/retry/").content.decode()
    digest = re.search(r'name="digest" value="([^"]*)"', asked)
    assert digest

    console.post("/admin/failures/retry/", {"digest": digest[1]})

    assert Operation.objects.get().total == 2
    shown = text(console.get(URL))
    assert "Retry all failed" not in shown
    assert "0/2 completed" in shown


def test_a_cause_without_a_host_is_one_and_an_unknown_kind_is_none(console: Client) -> None:
    local = fail("acme", error_kind="git_not_found")
    type(local.repository).objects.filter(pk=local.repository_id).update(url="/srv/repo.git")

    assert "on this machine" in text(console.get(URL))
    assert "Retry 1 failed" in console.get("/admin/failures/retry/git_not_found/-/").content.decode()
    assert console.get("/admin/failures/retry/nonsense/x/").status_code == 404


def test_who_may_not_see_or_retry_does_not(staff: Callable[..., Client]) -> None:
    fail()
    assert staff("view_app").get(URL).status_code == 403
    viewer = staff("view_subscription")
    shown = text(viewer.get(URL))
    assert "acme.example 1 failed" in shown
    assert not re.findall(r"Retry\b", shown)
    assert viewer.get("/admin/failures/retry/").status_code == 403
    assert viewer.post("/admin/failures/retry/", {"digest": "x"}).status_code == 403
    assert "Retry this cause" in text(staff("view_subscription", "bulk_retry").get(URL))
    assert Client().get(URL).status_code == 302


def test_the_page_and_its_parts_cost_the_same_however_much_failed(console: Client) -> None:
    fail("acme", "a")
    console.get(URL)

    def cost(**query: str) -> int:
        failing.forget_numbers()
        return queries(lambda: console.get(URL, query, headers=HTMX if query else {}))

    one = [cost(), cost(part="causes"), cost(part="list")]
    for n in range(20):
        fail(f"app-{n}", f"r{n}", error_kind="endpoint_timeout")
    ids = ",".join(str(id) for id in Subscription.objects.filter(status="failed").values_list("pk", flat=True))
    many = [cost(), cost(part="causes"), cost(part="list", kept=ids)]

    assert many == one
    assert one[1:] == [2, 2]  # the user, and one
    assert one[0] <= 4


def test_a_run_that_goes_on_and_has_met_failures_is_said_before_it_ends(console: Client) -> None:
    in_an_hour = timezone.now() + timedelta(hours=1)
    lease = {"lease_token": "00000000-0000-0000-0000-000000000001", "lease_expires_at": in_an_hour}
    row = SubscriptionFactory(status="syncing", due_at=None, **lease)
    SyncRunFactory(subscription=row, running=True, failed=3)

    response = console.get(URL)

    assert "Nothing has failed yet 1 run goes on in which some files were not taken so far" in text(response)
    assert 'data-every="2"' in response.text
