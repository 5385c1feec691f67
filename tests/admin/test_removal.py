"""Deleting what owns hundreds of thousands of rows: few queries, little memory, nothing left behind."""

import tracemalloc
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

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
from tests.factories import deeds

pytestmark = pytest.mark.django_db

ROWS = 200_000


def full_subscription(rows: int = 3) -> Subscription:
    subscription = factories.SubscriptionFactory()
    factories.DeliveryAttemptFactory(run__subscription=subscription)
    snapshot = factories.SnapshotFactory(repository=subscription.repository)
    factories.SnapshotFactory(repository=subscription.repository, previous=snapshot)
    Subscription.objects.filter(pk=subscription.pk).update(snapshot=snapshot, clean_snapshot=snapshot)
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO syncsvc_deliveredfile (subscription_id, path, mode, blob, epoch, delivered_at)
               SELECT %s, ('docs/' || n)::bytea, '100644', repeat('a', 40), 1, now() FROM generate_series(1, %s) n""",
            [subscription.pk, rows],
        )
    return subscription


@pytest.mark.parametrize("model", [App, Repository, Subscription])
def test_deleting_takes_all_that_hangs_on_it_and_nothing_else(model: type, console: Client) -> None:
    going, staying = full_subscription(), full_subscription()
    row = going if model is Subscription else getattr(going, model.__name__.lower())
    page = reverse(f"admin:syncsvc_{model.__name__.lower()}_delete", args=[row.pk])

    console.post(page, {"post": "yes"})

    assert not model.objects.filter(pk=row.pk).exists()
    assert list(Subscription.objects.all()) == [staying]
    assert DeliveredFile.objects.count() == 3
    assert (DeliveryAttempt.objects.count(), SyncRun.objects.count()) == (1, 1)
    assert Snapshot.objects.filter(repository=staying.repository).count() == 2
    assert Snapshot.objects.count() == (2 if model is Repository else 4)


@pytest.mark.parametrize("model", [App, Repository, Subscription])
def test_what_was_in_an_operation_is_deleted_and_the_log_says_so_once(model: type, console: Client) -> None:
    item = factories.OperationItemFactory()
    row = item.subscription if model is Subscription else getattr(item.subscription, model.__name__.lower())
    name = str(row)

    console.post(reverse(f"admin:syncsvc_{model.__name__.lower()}_delete", args=[row.pk]), {"post": "yes"})

    item.refresh_from_db()
    assert item.subscription_id is None
    entry = deeds().get()
    assert (entry.action, entry.object_name) == ("deleted", name)


def test_the_confirmation_and_the_delete_of_200_000_rows_are_small(console: Client) -> None:
    subscription = full_subscription(ROWS)
    page = reverse("admin:syncsvc_app_delete", args=[subscription.app_id])
    console.get(page)

    tracemalloc.start()
    with CaptureQueriesContext(connection) as asking:
        shown = console.get(page).text
    with CaptureQueriesContext(connection) as deleting:
        console.post(page, {"post": "yes"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "10,000+" in shown
    assert str(subscription) in shown
    assert len(asking) <= 15
    assert len(deleting) <= 25
    assert peak < 8 * 1024 * 1024
    assert not DeliveredFile.objects.exists()


def test_several_are_deleted_from_the_list(console: Client) -> None:
    subscriptions = [full_subscription(), full_subscription()]
    chosen = [str(subscription.pk) for subscription in subscriptions]
    list_page = reverse("admin:syncsvc_subscription_changelist")

    asked = console.post(list_page, {"action": "delete_selected", "_selected_action": chosen}).text
    console.post(list_page, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})

    assert all(str(subscription) in asked for subscription in subscriptions)
    assert not any(model.objects.exists() for model in (Subscription, DeliveredFile, DeliveryAttempt, SyncRun))


def test_whoever_may_not_delete_subscriptions_deletes_no_app_that_has_any(staff: Callable[..., Client]) -> None:
    subscription = full_subscription()
    page = reverse("admin:syncsvc_app_delete", args=[subscription.app_id])

    assert staff("view_app", "delete_app").post(page, {"post": "yes"}).status_code == 403
    assert staff("view_app", "delete_app", "delete_subscription").post(page, {"post": "yes"}).status_code == 302


def test_the_question_fills_the_dialog_and_says_what_goes(console: Client, staff: Callable[..., Client]) -> None:
    going = full_subscription()
    page, htmx = reverse("admin:syncsvc_app_delete", args=[going.app_id]), {"HX-Request": "true"}

    asked = console.get(page, headers=htmx).text
    assert f"Delete {going.app.name}?" in asked
    assert (
        "With it go: 1 subscription, 3 delivered files, 1 delivery attempt, 1 sync run. This cannot be undone." in asked
    )
    refused = staff("view_app", "delete_app").get(page, headers=htmx)
    assert "you may not delete its subscriptions" in refused["HX-Trigger"]
    assert staff("view_app").get(page, headers=htmx).status_code == 403
    assert console.post(page, {"post": "yes"}, headers=htmx)["HX-Redirect"] == reverse("admin:syncsvc_app_changelist")
    assert not App.objects.exists()
