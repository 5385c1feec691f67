"""For what, and until when, an operation's items wait: told by the page, the command and the API alike."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from syncsvc import words
from syncsvc.models import App, Operation, RemoteHost, Status, Subscription
from syncsvc.operations import bulk, control
from syncsvc.operations.document import full_document, operation_document
from syncsvc.operations.waits import WaitsDocument, item_waits, waits_of
from tests.api.conftest import Calls, calling, member, operator, token_of
from tests.factories import AppFactory, OperationFactory, OperationItemFactory, RepositoryFactory, SubscriptionFactory
from tests.operations.fleet import ASKER, RETRY
from tests.outages import open_circuit, throttle

__all__ = ["calling", "member", "operator", "token_of"]
pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def operation() -> Operation:
    """It has one item a state, each of an app of its own but where an app has it; and two that take their turn."""
    operation: Operation = OperationFactory(total=12, waiting=11, running=1, max_running=7)

    def item(app: str, *, released: bool = False, **values: Any) -> Subscription:
        known = App.objects.filter(name=app).first() or AppFactory(name=app)
        row: Subscription = SubscriptionFactory(app=known, **values)
        at = timezone.now() if released else None
        OperationItemFactory(operation=operation, subscription=row, released_at=at)
        return row

    for _ in range(3):
        item("acme", failed=True)
    open_circuit(App.objects.get(name="acme").pk, cooldown=300)
    item("initech", failed=True)
    item("initech", failed=True, released=True)
    throttle(App.objects.get(name="initech").pk, seconds=600)
    lease = {"lease_token": uuid.uuid4(), "lease_expires_at": timezone.now() + MINUTE}
    item("runs", status=Status.SYNCING, due_at=None, **lease)
    item("queued", queued_at=timezone.now())
    OperationItemFactory(subscription=item("elsewhere", failed=True), released_at=timezone.now())
    item("released", failed=True, released=True, queued_at=timezone.now())
    item("turn", failed=True)
    item("asks-a-quiet-host", failed=True, repository__url="https://quiet.example.com/o/a")
    RemoteHost.objects.create(name="quiet.example.com", quiet_until=timezone.now() + MINUTE)
    OperationItemFactory(operation=operation, subscription=item("begun", failed=True), status="running")
    operation.items.filter(app_name="begun", status="waiting").delete()
    return operation


def by_reason(operation: Operation) -> dict[str, WaitsDocument]:
    return {waits["reason"]: waits for waits in waits_of(operation)}


def ends(name: str) -> Any:
    return App.objects.values_list("circuit_until", "throttled_until").get(name=name)


def test_each_that_waits_is_told_with_its_reason_and_its_end(operation: Operation) -> None:
    told = by_reason(operation)

    assert {reason: (waits["count"], waits["name"]) for reason, waits in told.items()} == {
        "circuit": (3, "acme"),
        "throttled": (2, "initech"),
        "running": (1, None),
        "queued": (1, None),
        "elsewhere": (1, None),
        "released": (1, None),
        "turn": (1, None),
        "host": (1, "quiet.example.com"),
    }
    assert sum(waits["count"] for waits in told.values()) == operation.waiting
    assert (told["circuit"]["until"], told["throttled"]["until"]) == (ends("acme")[0], ends("initech")[1])
    assert told["running"]["until"] is None
    clock = words.clock(ends("acme")[0], now=timezone.now())
    assert told["circuit"]["text"].startswith(f"3 wait: acme's circuit is open until {clock}")
    assert "2 wait: initech asked for fewer requests until" in told["throttled"]["text"]
    assert told["running"]["text"] == "1 waits for a run that goes on"
    assert told["turn"]["text"].endswith("at most 7 run at once")
    assert [waits["count"] for waits in waits_of(operation)] == [3, 2, 1, 1, 1, 1, 1, 1]


def test_each_item_says_for_what_it_waits(operation: Operation, admin_client: Client) -> None:
    items = list(operation.items.all())
    told = item_waits(operation, items)

    waiting = [item for item in items if item.status == "waiting"]
    assert told.keys() == {item.pk for item in waiting}
    of_acme = {told[item.pk] for item in waiting if item.app_name == "acme"}
    clock = words.clock(ends("acme")[0], now=timezone.now())
    assert of_acme == {f"Waits: acme's circuit is open until {clock}, and one request tries it then."}
    page = admin_client.get(reverse("admin:syncsvc_operation_change", args=[operation.pk]), {"outcome": "waiting"})
    assert page.text.count("Waits: acme&#x27;s circuit is open") == 3
    assert page.text.count('data-label="Why"') == 11


def test_a_circuit_or_a_throttle_that_is_over_holds_nobody(operation: Operation) -> None:
    App.objects.filter(name="acme").update(circuit_until=Now() - MINUTE)
    App.objects.filter(name="initech").update(throttled_until=Now() - MINUTE)
    RemoteHost.objects.update(quiet_until=Now() - MINUTE)
    told = {reason: waits["count"] for reason, waits in by_reason(operation).items()}
    assert told == {"turn": 6, "released": 2, "running": 1, "queued": 1, "elsewhere": 1}


def test_in_a_paused_operation_all_wait_for_its_resumption(operation: Operation) -> None:
    Operation.objects.filter(pk=operation.pk).update(status="paused")
    operation.refresh_from_db()
    (waits,) = waits_of(operation)
    assert (waits["count"], waits["reason"]) == (11, "paused")


@pytest.mark.parametrize("apps", [1, 8])
def test_it_is_one_query_however_many_apps_and_none_where_nothing_waits(
    apps: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operation = OperationFactory(total=apps, waiting=apps)
    for _ in range(apps):
        OperationItemFactory(operation=operation)
    with django_assert_num_queries(1):
        assert sum(waits["count"] for waits in waits_of(operation)) == apps
    for ended in (OperationFactory(status="finished"), OperationFactory(waiting=0, succeeded=3)):
        with django_assert_num_queries(0):
            assert waits_of(ended) == []


def test_what_was_deleted_is_counted_until_it_is_skipped() -> None:
    operation = OperationFactory(total=1, waiting=1)
    OperationItemFactory(operation=operation, subscription=None)
    assert [waits["reason"] for waits in waits_of(operation)] == ["turn"]


def test_the_page_the_document_and_the_api_say_the_same(
    operation: Operation, operator: Calls, admin_client: Client
) -> None:
    cache.clear()
    texts = [waits["text"] for waits in full_document(operation)["waits"]]
    page = admin_client.get(reverse("admin:syncsvc_operation_change", args=[operation.pk])).text
    told = " ".join(re.sub(r"<[^>]*>", " ", page).replace("&#x27;", "'").split())
    assert len(texts) == 8
    assert all(text in told for text in texts)
    data = operator("get", f"operations/{operation.pk}").json()["data"]
    assert [waits["text"] for waits in data["waits"]] == texts
    assert data["waits"][0].keys() == {"count", "reason", "name", "until", "text"}
    assert "waits" not in operation_document(operation)


@pytest.mark.parametrize("meet", [open_circuit, throttle], ids=["circuit", "throttle"])
def test_a_real_operation_waits_for_an_endpoint_that_is_left_alone(meet: Callable[[uuid.UUID], None]) -> None:
    app = AppFactory()
    SubscriptionFactory.create_batch(2, app=app, failed=True)
    SubscriptionFactory(failed=True)
    meet(app.pk)

    operation = control.get_operation(bulk.start(RETRY, ASKER).pk)

    told = {waits["reason"]: waits["count"] for waits in waits_of(operation)}
    assert told == {"circuit" if meet is open_circuit else "throttled": 2, "released": 1}


def test_repositories_of_one_app_are_one_line() -> None:
    app, operation = AppFactory(), OperationFactory(total=5, waiting=5)
    for _ in range(5):
        row = SubscriptionFactory(app=app, repository=RepositoryFactory(), failed=True)
        OperationItemFactory(operation=operation, subscription=row)
    open_circuit(app.pk)
    assert [(waits["count"], waits["name"]) for waits in waits_of(operation)] == [(5, app.name)]
