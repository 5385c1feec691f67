"""How many queries those pages need that have no tests of their own: as many for one row as for many."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from syncsvc.models import App
from tests import factories

pytestmark = pytest.mark.django_db


def press_of(row: Any, press: str) -> str:
    return reverse(f"admin:syncsvc_{row._meta.model_name}_{press}", args=[row.pk])


def page_of(row: Any) -> str:
    return press_of(row, "change")


def file_of(app: App) -> str:
    return page_of(factories.DeliveredFileFactory(subscription=app.subscriptions.first()))


def item_of(app: App) -> str:
    return page_of(factories.OperationItemFactory(subscription=app.subscriptions.first()))


def snapshot_of(app: App) -> str:
    return page_of(app.subscriptions.first().repository.snapshots.first())  # type: ignore[union-attr]


# The user is one of them.
PAGES: dict[str, tuple[Callable[[App], str], int]] = {
    "a file": (file_of, 5),
    "an item": (item_of, 3),
    "a snapshot": (snapshot_of, 3),
    "tokens": (lambda app: reverse("admin:syncsvc_apitoken_changelist"), 3),
    "a new token": (lambda app: reverse("admin:syncsvc_apitoken_add"), 2),
    "a new app": (lambda app: reverse("admin:syncsvc_app_add"), 1),
    "a new repository": (lambda app: reverse("admin:syncsvc_repository_add"), 1),
    "a new subscription": (lambda app: reverse("admin:syncsvc_subscription_add"), 1),
    "retry all": (lambda app: reverse("admin:failures_retry"), 9),
    "retry an app": (lambda app: press_of(app, "retry_failed"), 10),
    "re-sync an app": (lambda app: press_of(app, "resync_all"), 10),
    "pause an app": (lambda app: press_of(app, "pause"), 3),
    "re-sync one": (lambda app: press_of(app.subscriptions.first(), "resync"), 3),
    "re-sync for": (lambda app: press_of(app.subscriptions.first().repository, "resync_for"), 4),  # type: ignore[union-attr]
    "the log of an app": (lambda app: press_of(app, "history"), 3),
    "delete an app": (lambda app: press_of(app, "delete"), 10),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("rows", [1, 12])
def test_a_page_needs_as_many_queries_for_one_row_as_for_many(
    name: str, rows: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    app = factories.AppFactory()
    for _ in range(rows):
        snapshot = factories.SnapshotFactory()
        factories.SubscriptionFactory(app=app, repository=snapshot.repository, failed=True)
        factories.OperationItemFactory()
    address, queries = PAGES[name]
    url = address(app)
    console.get(url)  # the session is in the cache from here on
    with django_assert_num_queries(queries):
        assert console.get(url).status_code == 200
