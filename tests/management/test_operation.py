"""operation: what it shows, watches and changes."""

import uuid
from collections.abc import Callable

import pytest

from syncsvc.models import Operation, Subscription
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.scope import Scope
from tests.factories import OperationFactory, OperationItemFactory
from tests.management.conftest import Run
from tests.management.test_operations import FIELDS
from tests.management.working import Terminal, pressing_ctrl_c, workers
from tests.receiver import Receiver

type Failing = Callable[..., list[Subscription]]


def started(kind: Operation.Kind = Operation.Kind.RETRY) -> Operation:
    return bulk.start(Scope(kind=kind), Asker(name="a test", source=Operation.Source.COMMAND))


def test_it_shows_counts_and_errors(run: Run) -> None:
    operation = OperationFactory.create(total=2, waiting=0, succeeded=1, failed=1, status="finished")
    values = {"operation": operation, "app_name": "client", "repository_name": "owner/repo"}
    OperationItemFactory.create(**values, status="succeeded", files=3)
    failed = {"status": "failed", "error_kind": "git_auth", "reason": "The remote refuses the token."}
    OperationItemFactory.create(**values, **failed)

    done = run("operation", operation.id, "--json")

    assert done.code == 0
    assert set(done.json) == FIELDS | {"errors", "waits"}
    assert done.json["waits"] == []
    assert done.json["errors"] == [{"error_kind": "git_auth", "count": 1, "example": "The remote refuses the token."}]
    lines = run("operation", operation.id).out.splitlines()
    assert "finished, 2/2 completed, 1 succeeded, 1 failed" in lines[0]
    assert lines[1] == "  1 git_auth: The remote refuses the token."


def test_items_come_in_pages(run: Run) -> None:
    operation = OperationFactory.create(total=501, waiting=501)
    OperationItemFactory.create_batch(501, operation=operation, subscription=None, app_name="client")
    first = run("operation", operation.id, "--items", "--json").json
    assert len(first["items"]) == 500
    last = run("operation", operation.id, "--items", "--after", first["next"], "--json").json
    assert (len(last["items"]), last["next"]) == (1, None)
    assert last["items"][0] == {
        "subscription": str(operation.items.order_by("id").last()),
        "subscription_id": None,
        "status": "waiting",
        "reason": None,
        "error_kind": None,
        "files": 0,
    }
    assert f"--items --after {first['next']}" in run("operation", operation.id, "--items").out
    assert run("operation", operation.id, "--items", "--after=x", "--json").refusal == "invalid"


def test_watching_ends_with_it(run: Run, failing: Failing) -> None:
    failing(2)
    operation = started()
    with workers():
        done = run("operation", operation.id, "--watch", "--timeout=60", "--json")
    assert (done.code, done.json["status"], done.json["succeeded"], done.err) == (0, "finished", 2, "")


def test_watching_something_that_failed_is_exit_code_1(run: Run, failing: Failing, hooks: Receiver) -> None:
    failing(1)
    operation = started()
    hooks.answer = lambda headers, body: (422, {}, b"no", 0.0)
    with workers():
        done = run("operation", operation.id, "--watch", "--timeout=60")
    assert (done.code, "1 failed" in done.out) == (1, True)
    assert run("operation", operation.id).code == 0  # shown, not watched


def test_a_terminal_has_a_bar_and_ctrl_c_asks(run: Run, failing: Failing) -> None:
    failing(2)
    operation = started()
    with Terminal() as terminal, pressing_ctrl_c(after=1):
        terminal.type("c", after=2)
        done = run("operation", operation.id, "--watch")
    assert (done.code, "2 cancelled" in done.out) == (1, True)
    assert "[------------------------] 0/2 completed" in terminal.seen
    operation.refresh_from_db()
    assert operation.status == "cancelled"


def test_pause_resume_and_cancel(run: Run, failing: Failing) -> None:
    failing(2)
    operation = started()
    paused = run("operation", operation.id, "--pause", "--json").json
    assert (paused["status"], paused["waiting"]) == ("paused", 2)
    assert paused["reason"].startswith("Paused by command operation (")
    assert run("operation", operation.id, "--resume", "--json").json["status"] == "running"
    cancelled = run("operation", operation.id, "--cancel", "--json")
    assert (cancelled.code, cancelled.json["status"], cancelled.json["cancelled"]) == (0, "cancelled", 2)
    assert run("operation", operation.id, "--pause", "--json").refusal == "conflict"
    assert run("operation", operation.id, "--resume", "--json").refusal == "conflict"


def test_what_failed_is_retried_as_a_new_one(run: Run, failing: Failing, hooks: Receiver) -> None:
    failing(2)
    operation = started()
    assert run("operation", operation.id, "--retry-failed", "--yes", "--json").refusal == "conflict"
    hooks.answer = lambda headers, body: (422, {}, b"no", 0.0)
    with workers():
        assert run("operation", operation.id, "--watch", "--timeout=60").code == 1
    assert run("operation", operation.id, "--retry-failed", "--json").refusal == "confirm"
    done = run("operation", operation.id, "--retry-failed", "--yes", "--idempotency-key=k", "--json")
    again = Operation.objects.get(retries=operation)
    assert (done.code, done.json) == (0, {"operation_id": str(again.id), "total_count": 2})
    assert run("operation", operation.id, "--retry-failed", "--idempotency-key=k", "--json").json == done.json
    assert run("operation", again.id, "--retry-failed", "--idempotency-key=k", "--json").refusal == "conflict"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("nonsense",), "not_found"),
        ((str(uuid.UUID(int=1)),), "not_found"),
        ((str(uuid.UUID(int=1)), "--cancel", "--pause"), "usage"),
        ((str(uuid.UUID(int=1)), "--after=1"), "usage"),
        ((str(uuid.UUID(int=1)), "--timeout=1"), "usage"),
        ((), "usage"),
    ],
)
def test_wrong_usage_is_refused(run: Run, arguments: tuple[str, ...], kind: str) -> None:
    assert run("operation", *arguments, "--json").refusal == kind
