"""The lists: how many queries they need, what they find, and that nobody writes history."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from syncsvc.models import (
    App,
    DeliveredFile,
    DeliveryAttempt,
    Repository,
    Snapshot,
    Subscription,
    SyncRun,
)
from tests import factories

pytestmark = pytest.mark.django_db

FACTORIES: dict[type[Any], Any] = {
    App: factories.AppFactory,
    Repository: factories.RepositoryFactory,
    Subscription: factories.SubscriptionFactory,
    SyncRun: factories.SyncRunFactory,
    DeliveryAttempt: factories.DeliveryAttemptFactory,
    DeliveredFile: factories.DeliveredFileFactory,
    Snapshot: factories.SnapshotFactory,
}
HISTORY = (SyncRun, DeliveryAttempt, DeliveredFile, Snapshot)
# The user, a count, the rows. Histories are counted once, to 10,000, within a
# transaction (two more, a savepoint in tests) that has a time limit (one more).
QUERIES = {App: 3, Repository: 3, Subscription: 3, SyncRun: 6, DeliveryAttempt: 6, DeliveredFile: 6, Snapshot: 6}


def list_of(model: type[Any]) -> str:
    return reverse(f"admin:syncsvc_{model._meta.model_name}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_change", args=[row.pk])


@pytest.mark.parametrize("model", FACTORIES)
@pytest.mark.parametrize("rows", [1, 12])
def test_a_list_needs_as_many_queries_for_one_row_as_for_many(
    model: type[Any], rows: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    FACTORIES[model].create_batch(rows)
    console.get(list_of(model))  # the session is in the cache from here on

    with django_assert_num_queries(QUERIES[model]):
        response = console.get(list_of(model))

    assert len(response.context["cl"].result_list) == rows


@pytest.mark.parametrize("model", FACTORIES)
def test_a_late_page_has_the_rows_that_follow_and_asks_once_more_for_their_ids(
    model: type[Any], console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    FACTORIES[model].create_batch(60)
    first = console.get(list_of(model)).context["cl"]

    with django_assert_num_queries(QUERIES[model] + 1):
        late = console.get(list_of(model), {"p": "2"}).context["cl"]

    assert [*first.result_list, *late.result_list] == list(first.queryset)
    assert len(late.result_list) == 10
    assert console.get(list_of(model), {"p": "3"}).status_code == 302  # there is none


@pytest.mark.parametrize("model", FACTORIES)
def test_every_row_has_a_page(model: type[Any], console: Client) -> None:
    assert console.get(page_of(FACTORIES[model]())).status_code == 200


def test_the_list_of_lists_groups_what_there_is(console: Client) -> None:
    page = console.get(reverse("admin:app_list", args=["syncsvc"])).text.partition("<main")[2]

    assert page.index("Syncing") < page.index("Subscriptions") < page.index("Sync runs") < page.index("Scripts")


@pytest.mark.parametrize("model", HISTORY)
def test_nobody_writes_history(model: type[Any], console: Client) -> None:
    row = FACTORIES[model]()

    assert console.get(reverse(f"admin:syncsvc_{model._meta.model_name}_add")).status_code == 403
    assert console.post(page_of(row), {}).status_code == 403
    assert console.post(reverse(f"admin:syncsvc_{model._meta.model_name}_delete", args=[row.pk])).status_code == 403


@pytest.mark.parametrize("model", FACTORIES)
def test_every_filter_and_search_answers(model: type[Any], console: Client) -> None:
    FACTORIES[model]()
    shown = console.get(list_of(model)).context["cl"]

    for spec in shown.filter_specs:
        for choice in spec.choices(shown):
            if "query_string" in choice:
                assert console.get(list_of(model) + choice["query_string"]).status_code == 200
    for term in ("e", "a/b", "00000000-0000-0000-0000-000000000000", "%", "\\xff"):
        assert console.get(list_of(model), {"q": term}).status_code == 200


@pytest.mark.parametrize("model", [SyncRun, DeliveryAttempt, DeliveredFile])
def test_a_list_shows_one_subscription_that_was_found_by_typing(model: type[Any], console: Client) -> None:
    row, _other = FACTORIES[model](), FACTORIES[model]()

    response = console.get(list_of(model), {"subscription__exact": str(row.subscription_id)})

    assert list(response.context["cl"].result_list) == [row]
    assert str(row.subscription) in response.text  # chosen, in the filter


def test_what_a_filter_is_about_may_be_named_in_the_address(console: Client) -> None:
    wanted, _ = factories.SubscriptionFactory(), factories.SubscriptionFactory()
    of_app = console.get(list_of(Subscription), {"app__exact": wanted.app.name})
    assert list(of_app.context["cl"].result_list) == [wanted]
    run = factories.SyncRunFactory(subscription=wanted)
    of_it = console.get(list_of(SyncRun), {"subscription__exact": f" {wanted} "})
    assert list(of_it.context["cl"].result_list) == [run]
    for nobody in ("nobody", "no/body", str(run.pk)):
        assert not console.get(list_of(SyncRun), {"subscription__exact": nobody}).context["cl"].result_list
    assert console.get(list_of(SyncRun), {"subscription__exact": ""}).context["cl"].result_count == 1


def test_lists_load_no_script_that_they_do_not_need(console: Client) -> None:
    page = console.get(list_of(DeliveryAttempt)).text
    assert "jquery" not in page
    assert "select2" not in page


@pytest.mark.parametrize("model", FACTORIES)
def test_the_page_of_a_row_loads_no_jquery_and_the_form_that_adds_one_does(model: type[Any], console: Client) -> None:
    page = console.get(page_of(FACTORIES[model]())).text
    assert "jquery" not in page
    assert "admin/js/prepopulate" not in page
    assert "jquery" in console.get(reverse("admin:syncsvc_subscription_add")).text


def test_a_filter_keeps_what_else_was_chosen(console: Client) -> None:
    subscription = factories.SubscriptionFactory(failed=True)

    page = console.get(list_of(Subscription), {"app__exact": str(subscription.app_id), "status__exact": "failed"}).text

    assert '<input type="hidden" name="status__exact" value="failed">' in page


def test_subscriptions_are_found_by_their_full_name(console: Client) -> None:
    subscription = factories.SubscriptionFactory()
    factories.SubscriptionFactory()

    response = console.get(list_of(Subscription), {"q": f"{subscription.app.name}/{subscription.repository.name}"})

    assert list(response.context["cl"].result_list) == [subscription]


def test_subscriptions_that_are_paused_by_anything_are_found(console: Client) -> None:
    paused = {
        factories.SubscriptionFactory(is_active=False),
        factories.SubscriptionFactory(app__is_active=False),
        factories.SubscriptionFactory(repository__is_active=False),
    }
    active = factories.SubscriptionFactory()

    assert set(console.get(list_of(Subscription), {"paused": "1"}).context["cl"].result_list) == paused
    assert list(console.get(list_of(Subscription), {"paused": "0"}).context["cl"].result_list) == [active]


def test_typing_finds_subscriptions_for_the_filters(
    console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.SubscriptionFactory.create_batch(5)
    of_runs = {"app_label": "syncsvc", "model_name": "syncrun", "field_name": "subscription", "term": "owner"}
    console.get(reverse("admin:autocomplete"), of_runs)

    with django_assert_num_queries(3):
        response = console.get(reverse("admin:autocomplete"), of_runs)

    assert len(response.json()["results"]) == 5


@pytest.fixture
def many_attempts() -> Any:
    """12,000 attempts of one subscription, and one of another."""
    run, other = factories.SyncRunFactory(), factories.DeliveryAttemptFactory()
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO syncsvc_deliveryattempt
                 (subscription_id, run_id, webhook_id, kind, path, files, status, error_kind, error, milliseconds,
                  answer)
               SELECT %s, %s, 'w' || n, 'created', ('docs/' || n)::bytea, 1, 204, '', '', 5, ''
               FROM generate_series(1, 12000) n""",
            [run.subscription_id, run.pk],
        )
    return run, other


def test_nothing_is_counted_beyond_10_000(many_attempts: Any, console: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = console.get(list_of(DeliveryAttempt)).text

    assert "10,000+ delivery attempts" in page
    assert all("LIMIT 10001" in query["sql"] for query in queries if "COUNT(" in query["sql"])
    assert console.get(list_of(DeliveryAttempt), {"p": "100"}).status_code == 200


def test_paths_are_searched_within_one_subscription(many_attempts: Any, console: Client) -> None:
    run, _ = many_attempts
    one = {"subscription__exact": str(run.subscription_id)}

    everywhere = console.get(list_of(DeliveryAttempt), {"q": "docs/7"})
    exact = console.get(list_of(DeliveryAttempt), {"q": "docs/7", **one})
    begins = console.get(list_of(DeliveryAttempt), {"q": "docs/119*", **one})
    of_run = console.get(list_of(DeliveryAttempt), {"q": str(run.pk)})

    assert "choose it in the filter" in everywhere.text
    assert [bytes(row.path) for row in exact.context["cl"].result_list] == [b"docs/7"]
    assert begins.context["cl"].result_count == 111
    assert of_run.context["cl"].paginator.count_text == "10,000+"


def test_a_question_that_takes_too_long_is_given_up(
    many_attempts: Any, console: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncsvc.admin.history.QUERY_SECONDS", 0.001)

    page = console.get(list_of(DeliveryAttempt), {"kind": "batch"})

    assert page.status_code == 302


def test_bytes_that_are_not_utf8_are_found_as_they_are_shown(console: Client) -> None:
    file = factories.DeliveredFileFactory(path=b"docs/<b>\xff\n\\x.md")
    chosen = {"subscription__exact": str(file.subscription_id)}

    shown = console.get(list_of(DeliveredFile), chosen).text
    found = console.get(list_of(DeliveredFile), {"q": "docs/<b>\\xff", **chosen})

    assert "docs/&lt;b&gt;\\xff\\n" in shown
    assert list(found.context["cl"].result_list) == [file]


def test_an_empty_list_says_what_to_do_next(client: Client, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_superuser("someone"))
    for name in ("app", "repository", "subscription"):
        page = client.get(f"/admin/syncsvc/{name}/").text
        assert f"No {name} yet" in page
        assert f'<a href="/admin/syncsvc/{name}/add/">Add {name}</a></p>' in page
        assert "0 selected" not in page
    for name in ("syncrun", "deliveryattempt", "deliveredfile", "snapshot", "operationitem"):
        assert "It fills by itself as subscriptions run" in client.get(f"/admin/syncsvc/{name}/").text
    assert "Nothing that fits" in client.get("/admin/syncsvc/app/?q=nowhere").text
    assert "Nothing that fits" in client.get("/admin/syncsvc/subscription/?status__exact=failed").text


@pytest.mark.parametrize(("address", "words"), [("/admin/nowhere/", "Not found"), ("/nowhere", "Not found")])
def test_a_page_that_is_not_there_leads_back(client: Client, address: str, words: str, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_superuser("someone"))
    page = client.get(address)
    assert page.status_code == 404
    assert f"<h1>{words}</h1>" in page.text
    assert '<a href="/admin/">Overview</a>' in page.text


def test_who_may_not_is_told_so_on_a_page(client: Client, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
    page = client.get("/admin/syncsvc/app/")
    assert page.status_code == 403
    assert "You lack the permission for this." in page.text
