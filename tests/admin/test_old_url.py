"""An app that has moved: what its old URL had stands on its page until it is re-synced or dismissed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from syncsvc.models import App, Subscription
from syncsvc.operations.single import resync
from tests import factories
from tests.factories import deeds
from tests.operations.fleet import ASKER

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
NOTICE = "The old URL had acknowledged 3 files of 2 subscriptions: the new one does not have them."


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def app() -> App:
    """Two of its subscriptions have acknowledged three files, and a third one none."""
    app: App = factories.AppFactory(name="acme", url="https://old.example.com/")
    for name, files in (("o/a", 2), ("o/b", 1), ("o/c", 0)):
        row = factories.SubscriptionFactory(app=app, repository__name=name, synced=True)
        factories.DeliveredFileFactory.create_batch(files, subscription=row)
        factories.DeliveredFileFactory(subscription=row, path=b"doubt", in_doubt=True)
    return app


def page_of(row: App | Subscription) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_change", args=[row.pk])


def button(app: App, press: str) -> str:
    return reverse(f"admin:syncsvc_app_{press}", args=[app.pk])


def told(page: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.text).split())


def move(app: App, console: Client) -> Any:
    """As the form of the page does it; the page that follows."""
    values = {"name": app.name, "max_batch": "1", "max_in_flight": "16", "is_active": "on", "new_secret": ""}
    return console.post(page_of(app), {**values, "url": "https://new.example.com/", "_continue": "1"}, follow=True)


def test_the_page_says_what_the_old_url_had_with_both_ways_out(app: App, console: Client) -> None:
    assert "old URL" not in console.get(page_of(app)).text

    page = move(app, console)

    assert NOTICE in told(page)
    assert "Healthy" not in told(page)
    assert page.text.count(f'action="{button(app, "resync_all")}"') == 2
    assert page.text.count(f'action="{button(app, "dismiss_old_url")}"') == 1
    ids = re.findall(r' id="([^"]+)"', page.text)
    assert len(ids) == len(set(ids))
    assert "2 files were acknowledged" in told(console.get(page_of(app.subscriptions.get(repository__name="o/a"))))
    assert NOTICE in told(console.get(page_of(app), {"part": "old_url"}, headers=HTMX))


def test_a_re_sync_takes_its_number_away(app: App, console: Client) -> None:
    move(app, console)
    resync(app.subscriptions.get(repository__name="o/b").pk, ASKER)
    cache.clear()
    assert "The old URL had acknowledged 2 files of 1 subscription:" in told(console.get(page_of(app)))
    resync(app.subscriptions.get(repository__name="o/a").pk, ASKER)
    cache.clear()
    assert "old URL" not in told(console.get(page_of(app)))


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
def test_it_is_dismissed_with_one_press(headers: dict[str, str], app: App, console: Client) -> None:
    move(app, console)

    answer = console.post(button(app, "dismiss_old_url"), headers=headers, follow=True)

    said = answer.headers["HX-Trigger"] if headers else answer.text
    assert "Dismissed: 3 files of 2 subscriptions" in said
    assert "old URL had" not in told(console.get(page_of(app)))
    assert set(Subscription.objects.values_list("old_url_files", flat=True)) == {0}
    assert "Dismissed" in deeds().order_by("-id")[0].text
    again = console.post(button(app, "dismiss_old_url"), headers=HTMX)
    assert "nothing left to dismiss" in again.headers["HX-Trigger"]
    assert deeds().filter(text__startswith="Dismissed").count() == 1


def test_it_is_for_who_may_change_apps(app: App, console: Client, staff: Callable[..., Client]) -> None:
    move(app, console)
    looker = staff("view_app")
    page = looker.get(page_of(app)).text
    assert "The old URL had acknowledged" in page
    assert button(app, "dismiss_old_url") not in page
    assert looker.post(button(app, "dismiss_old_url")).status_code == 403


def test_the_notice_costs_no_query(
    app: App, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    move(app, console)
    console.get(page_of(app), {"part": "old_url"}, headers=HTMX)
    with django_assert_num_queries(2):
        assert NOTICE in told(console.get(page_of(app), {"part": "old_url"}, headers=HTMX))
