"""Operations through the API: live counts, pages, cancelling, pausing."""

import uuid
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import Operation, OperationItem
from tests.api.conftest import Calls
from tests.factories import SubscriptionFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def operation(operator: Calls) -> str:
    SubscriptionFactory.create_batch(3, failed=True)
    started: str = operator("post", "retry/all").json()["data"]["operation_id"]
    return started


def progress(operator: Calls, operation: str) -> dict[str, Any]:
    shown: dict[str, Any] = operator("get", f"retry/progress/{operation}").json()["data"]
    return shown


def test_progress_has_the_predecessors_names_and_adds_up(operation: str, operator: Calls) -> None:
    shown = progress(operator, operation)

    assert shown["operation_id"] == operation
    assert (shown["total"], shown["completed"], shown["succeeded"], shown["failed"]) == (3, 0, 0, 0)
    assert (shown["cancelled"], shown["cancelled_count"]) == (False, 0)
    assert shown["completed"] + shown["waiting"] + shown["running"] == shown["total"]
    assert (shown["kind"], shown["status"]) == ("retry", "running")


def test_cancelled_is_a_boolean_in_progress_and_a_count_elsewhere(operation: str, operator: Calls) -> None:
    answer = operator("post", f"retry/cancel/{operation}").json()["data"]

    assert (answer["status"], answer["cancelled"]) == ("cancelled", 3)
    shown = progress(operator, operation)
    assert (shown["cancelled"], shown["cancelled_count"], shown["completed"]) == (True, 3, 3)


def test_pause_resume_cancel_and_retrying_what_failed(operation: str, operator: Calls) -> None:
    def post(what: str) -> Any:
        return operator("post", f"operations/{operation}/{what}")

    assert post("pause").json()["data"]["status"] == "paused"
    assert post("resume").json()["data"]["status"] == "running"
    assert (post("retry-failed").status_code, post("retry-failed").json()["kind"]) == (409, "conflict")
    assert post("cancel").json()["data"]["status"] == "cancelled"
    assert post("pause").status_code == 409
    OperationItem.objects.filter(operation_id=operation).update(status="failed")
    operator("post", "retry/all", Idempotency_Key="taken")
    Operation.objects.exclude(id=operation).update(status="finished", finished_at=Now())
    path = f"operations/{operation}/retry-failed"
    assert operator("post", path, Idempotency_Key="taken").status_code == 409
    again = operator("post", path, Idempotency_Key="free").json()["data"]
    assert operator("post", path, Idempotency_Key="free").json()["data"] == again
    assert again["total_count"] == 3
    assert str(Operation.objects.get(id=again["operation_id"]).retries_id) == operation


def test_retrying_so_many_that_failed_that_their_count_must_be_given(
    operation: str, operator: Calls, settings: Settings
) -> None:
    operator("post", f"operations/{operation}/cancel")
    OperationItem.objects.filter(operation_id=operation).update(status="failed")
    settings.BULK_CONFIRM_OVER = 2
    path = f"operations/{operation}/retry-failed"

    assert operator("post", path).json()["kind"] == "confirm"
    again = operator("post", path, {"confirm_count": 3, "max_running": 7}).json()["data"]

    assert (again["total_count"], Operation.objects.get(id=again["operation_id"]).max_running) == (3, 7)


def test_items_come_in_pages(operation: str, operator: Calls) -> None:
    first = operator("get", f"operations/{operation}/items?limit=2").json()["data"]
    second = operator("get", f"operations/{operation}/items?limit=2&after={first['next']}").json()["data"]

    items = first["items"] + second["items"]
    assert len({item["subscription"] for item in items}) == 3
    assert {item["status"] for item in items} == {"waiting"}
    assert second["next"] is None
    assert operator("get", f"operations/{operation}/items?status=failed").json()["data"]["items"] == []


def test_errors_are_grouped_by_kind(operation: str, operator: Calls) -> None:
    OperationItem.objects.filter(operation_id=operation).update(
        status="failed",
        error_kind="endpoint_timeout",
        reason="No answer in 15 s.",
        settled_at=timezone.now(),
        released_at=None,
    )

    errors = operator("get", f"operations/{operation}/errors").json()["data"]["errors"]

    assert errors == [{"error_kind": "endpoint_timeout", "count": 3, "example": "No answer in 15 s."}]


def test_operations_come_in_pages_newest_first(operator: Calls) -> None:
    started = []
    for _ in range(3):
        SubscriptionFactory(failed=True)
        started.append(operator("post", "retry/all").json()["data"]["operation_id"])

    first = operator("get", "operations?limit=2").json()["data"]
    second = operator("get", f"operations?limit=2&after={first['next']}").json()["data"]

    assert [one["operation_id"] for one in first["operations"] + second["operations"]] == started[::-1]
    assert second["next"] is None


@pytest.mark.parametrize(
    "path",
    ["get retry/progress/{}", "get operations/{}", "get operations/{}/items", "get operations/{}/errors"]
    + [f"post operations/{{}}/{what}" for what in ("cancel", "pause", "resume", "retry-failed")]
    + ["post retry/cancel/{}", "get operations?after={}"],
)
def test_an_operation_that_does_not_exist_is_a_problem(path: str, operator: Calls) -> None:
    answer = operator(*path.format(uuid.uuid4()).split())

    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["kind"] == "not_found"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=x", "after=-1", "status=lost"])
def test_a_page_that_cannot_be_is_not_valid(query: str, operation: str, operator: Calls) -> None:
    answer = operator("get", f"operations/{operation}/items?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]
