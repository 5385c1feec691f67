"""Retry and re-sync through the API: the predecessor's paths and names, and ours beside them."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncsvc.models import Operation, Status, Subscription
from tests.api.conftest import Calls
from tests.factories import AppFactory, RepositoryFactory, SnapshotFactory, SubscriptionFactory
from tests.outages import open_circuit

pytestmark = pytest.mark.django_db


def target(subscription: Subscription) -> dict[str, str]:
    return {"app_id": str(subscription.app_id), "repository_id": str(subscription.repository_id)}


def test_one_is_retried(operator: Calls) -> None:
    subscription = SubscriptionFactory(failed=True)

    answer = operator("post", "retry", target(subscription))

    assert answer.json() == {"data": {"queued": True, **target(subscription), "note": None}}
    assert Subscription.objects.get().status == Status.PENDING
    again = operator("post", "retry", target(subscription))
    assert (again.status_code, again.json()["detail"]) == (409, "A retry is already in progress")


def test_an_open_circuit_is_told(operator: Calls) -> None:
    subscription = SubscriptionFactory(failed=True)
    open_circuit(subscription.app_id)

    note = operator("post", "retry", target(subscription)).json()["data"]["note"]

    assert note == "The endpoint's circuit is open; a retry probes it now."


def test_what_is_paused_is_a_conflict_that_says_so(operator: Calls) -> None:
    subscription = SubscriptionFactory(failed=True, is_active=False)

    answer = operator("post", "retry", target(subscription))

    assert (answer.status_code, answer.json()["kind"]) == (409, "paused")


def test_one_is_resynced(administrator: Calls) -> None:
    subscription = SubscriptionFactory(synced=True)

    answer = administrator("post", "resync", target(subscription))

    assert answer.json()["data"] == {"queued": True, **target(subscription), "note": None}
    assert Subscription.objects.get().epoch == 2
    assert administrator("post", "resync", target(subscription)).status_code == 409


@pytest.mark.parametrize(
    "path",
    ["retry/all", "retry/app/{app_id}", "retry/repository/{repository_id}", "retry/error/endpoint_error"],
)
def test_many_are_retried(path: str, operator: Calls) -> None:
    app, repository = AppFactory(), RepositoryFactory()
    SubscriptionFactory(app=app, repository=repository, failed=True)
    SubscriptionFactory(app=app, repository=repository.__class__.objects.create(name="b", url="https://e.com/b"))

    answer = operator("post", path.format(app_id=app.id, repository_id=repository.id))

    operation = Operation.objects.get()
    assert answer.json() == {"data": {"operation_id": str(operation.id), "total_count": 1}}
    assert operation.kind == "retry"


@pytest.mark.parametrize("path", ["resync/app/{app_id}", "resync/repository/{repository_id}"])
def test_many_are_resynced(path: str, administrator: Calls) -> None:
    subscription = SubscriptionFactory(synced=True)
    SubscriptionFactory(synced=True)

    answer = administrator("post", path.format(**target(subscription)))

    assert answer.json()["data"]["total_count"] == 1
    assert Operation.objects.get().kind == "resync"


def test_a_selection_is_all_conditions_together(operator: Calls, administrator: Calls) -> None:
    app = AppFactory()
    both = [SubscriptionFactory(app=app, failed=True) for _ in range(2)]
    SubscriptionFactory(failed=True)
    body = {"app_id": str(app.id), "error_kind": "endpoint_error", "ids": [str(both[0].id)], "max_running": 3}

    started = operator("post", "retry/selection", body).json()["data"]

    assert started["total_count"] == 1
    assert Operation.objects.get().max_running == 3
    assert administrator("post", "resync/selection", {"app_id": str(app.id)}).json()["data"]["total_count"] == 2


@pytest.mark.parametrize(
    "body", [{}, {"app": "acme"}, {"ids": []}, {"max_running": 5}, {"error_kind": "bad_luck"}, {"app_id": None}]
)
def test_a_selection_that_selects_nothing_is_never_taken_for_all(body: dict[str, Any], operator: Calls) -> None:
    SubscriptionFactory(failed=True)

    answer = operator("post", "retry/selection", body)

    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["source"] == "body"
    assert not Operation.objects.exists()


@pytest.mark.parametrize("path", ["retry/app/{}", "retry/repository/{}", "resync/app/{}", "resync/repository/{}"])
def test_of_what_does_not_exist_nothing_is_started(path: str, administrator: Calls) -> None:
    answer = administrator("post", path.format(uuid.uuid4()))

    assert (answer.status_code, answer.json()["kind"]) == (404, "not_found")


def test_what_was_previewed_is_started_by_its_digest(administrator: Calls) -> None:
    subscription = SubscriptionFactory(synced=True, created_at=timezone.now() - timedelta(minutes=1))
    Subscription.objects.update(snapshot=SnapshotFactory(repository=subscription.repository, files=7, bytes=70))
    scope = {"app_id": str(subscription.app_id)}

    shown = administrator("post", "preview", {"kind": "resync", **scope}).json()["data"]

    assert (shown["total"], shown["files"], shown["bytes"]) == (1, 7, 70)
    assert shown["by_app"] == {subscription.app.name: 1}
    started = administrator("post", "resync/selection", {**scope, "digest": shown["digest"]})
    assert started.json()["data"]["total_count"] == 1


def test_a_digest_opens_nothing_else(operator: Calls, administrator: Calls) -> None:
    subscription = SubscriptionFactory(failed=True)
    resync = administrator("post", "preview", {"kind": "resync", "app_id": str(subscription.app_id)}).json()["data"]

    for digest in (resync["digest"], "forged", f"{resync['digest']}x"):
        answer = operator("post", f"retry/app/{subscription.app_id}", {"digest": digest})
        assert (answer.status_code, answer.json()["kind"]) == (422, "invalid")
    assert not Operation.objects.exists()


def test_the_same_key_starts_one_operation(operator: Calls, administrator: Calls) -> None:
    subscription = SubscriptionFactory(failed=True)
    first, second = (operator("post", "retry/all", Idempotency_Key="nightly") for _ in range(2))

    assert first.json() == second.json()
    assert Operation.objects.count() == 1
    other = operator("post", f"retry/app/{subscription.app_id}", Idempotency_Key="nightly")
    assert (other.status_code, other.json()["kind"]) == (409, "conflict")
    assert administrator("post", "retry/all", Idempotency_Key="nightly").json() != first.json()


def test_so_many_that_their_count_must_be_given(operator: Calls, settings: Any) -> None:
    settings.BULK_CONFIRM_OVER = 1
    SubscriptionFactory.create_batch(2, failed=True)

    asked = operator("post", "retry/all")

    assert (asked.status_code, asked.json()["kind"]) == (409, "confirm")
    assert operator("post", "retry/all", {"confirm_count": 3}).status_code == 409
    assert operator("post", "retry/all", {"confirm_count": 2}).json()["data"]["total_count"] == 2


@pytest.mark.parametrize("address", ["retry/selection", "resync/selection"])
def test_a_host_that_there_cannot_be_is_invalid(administrator: Calls, address: str) -> None:
    SubscriptionFactory(failed=True)
    assert administrator("post", address, {"host": "a\0b"}).status_code == 422
