"""operations: the list of them, as documents."""

from syncsvc.models import Operation
from tests.factories import OperationFactory
from tests.management.conftest import Run

FIELDS = {
    *("operation_id", "kind", "status", "reason", "scope", "asked_by", "source", "total", "completed", "succeeded"),
    *("failed", "skipped", "cancelled", "waiting", "running", "files", "items_per_second", "files_per_second"),
    *("seconds_left", "retries", "created_at", "finished_at"),
}


def test_the_newest_come_first_and_their_counts_add_up(run: Run) -> None:
    OperationFactory.create(total=3, waiting=0, succeeded=2, failed=1, status="finished")
    newest = OperationFactory.create(total=5, waiting=3, running=2)

    shown = run("operations", "--json").json["operations"]

    assert [set(row) for row in shown] == [FIELDS, FIELDS]
    assert shown[0]["operation_id"] == str(newest.id)
    assert [(row["total"], row["completed"], row["waiting"], row["running"]) for row in shown] == [
        (5, 0, 3, 2),
        (3, 3, 0, 0),
    ]
    (only,) = run("operations", "--open", "--json").json["operations"]
    assert only["operation_id"] == str(newest.id)
    assert len(run("operations", "--limit=1", "--json").json["operations"]) == 1


def test_in_words(run: Run) -> None:
    assert run("operations").out.startswith("No operation: ")
    operation = OperationFactory.create(
        total=3,
        waiting=0,
        succeeded=2,
        failed=1,
        status=Operation.Status.FINISHED,
        scope_text="all failed subscriptions",
    )
    out = run("operations").out
    assert out.startswith(
        f"{operation.id} retry of all failed subscriptions: finished, 3/3 completed, 2 succeeded, 1 failed (a test, "
    )


def test_wrong_usage_is_refused(run: Run) -> None:
    assert run("operations", "--limit=0", "--json").refusal == "usage"
