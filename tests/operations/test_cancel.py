"""Cancel: nothing that is not claimed will run, and it is as if it had never been asked for."""

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem, Subscription
from syncsvc.operations import bulk, control
from syncsvc.operations.asker import Asker
from syncsvc.store.operations import cancel_operation
from syncsvc.sync.scheduler import end_expired_leases
from tests.factories import deeds
from tests.operations.fleet import (
    ASKER,
    HANDED_BACK,
    RESYNC,
    RETRY,
    SYNCED,
    adds_up,
    claim,
    counts,
    end,
    expire_leases,
    fleet,
    hand_back_beside,
    in_threads,
    run,
    sampling,
)

pytestmark = pytest.mark.django_db(transaction=True)


def rows() -> list[dict[str, object]]:
    return list(Subscription.objects.order_by("id").values())


@pytest.mark.parametrize("kind", [RETRY, RESYNC])
def test_what_was_not_claimed_is_byte_for_byte_as_before_and_no_worker_is_needed(kind: object) -> None:
    subscriptions = fleet(apps=3, each=4)
    before = rows()
    operation = bulk.start(RETRY if kind is RETRY else RESYNC, ASKER, max_running=5)
    control.cancel(operation.id, ASKER)
    assert (counts(operation), operation.status, adds_up()) == ({"cancelled": 12}, "cancelled", True)
    assert rows() == before
    assert not any(run(s.id) for s in subscriptions), "the messages that were sent find nothing to do"
    assert operation.finished_at is not None


def test_cancel_changes_all_items_and_counts_in_one_statement() -> None:
    fleet(apps=3, each=40)
    operation = bulk.start(RETRY, ASKER)
    with CaptureQueriesContext(connection) as queries:
        cancel_operation(operation.id)
    written = [query["sql"] for query in queries if "UPDATE syncsvc" in query["sql"]]
    assert len(written) == 1
    assert counts(operation) == {"cancelled": 120}


def test_what_runs_finishes_and_counts() -> None:
    subscriptions = fleet(apps=1, each=3)
    operation = bulk.start(RETRY, ASKER)
    job = claim(subscriptions[0].id)
    assert job is not None
    control.cancel(operation.id, ASKER)
    assert (counts(operation), operation.status) == ({"cancelled": 2, "running": 1}, "cancelling")
    end(job, SYNCED)
    assert (counts(operation), operation.status) == ({"cancelled": 2, "succeeded": 1}, "cancelled")
    assert adds_up()


def test_what_runs_and_is_interrupted_is_cancelled() -> None:
    first, second = fleet(apps=1, each=2)
    operation = bulk.start(RETRY, ASKER)
    handed, killed = claim(first.id), claim(second.id)
    assert handed is not None
    assert killed is not None
    control.cancel(operation.id, ASKER)
    end(handed, HANDED_BACK)
    assert (counts(operation), operation.status) == ({"cancelled": 1, "running": 1}, "cancelling")
    expire_leases()
    end_expired_leases()
    assert (counts(operation), operation.status, adds_up()) == ({"cancelled": 2}, "cancelled", True)


def test_a_second_cancel_changes_nothing_and_one_too_late_is_refused() -> None:
    subscriptions = fleet(apps=1, each=2)
    user = User.objects.create_user("ann")
    ann = Asker(name="ann", source=Operation.Source.CONSOLE, user=user)
    operation = bulk.start(RETRY, ann)
    job = claim(subscriptions[0].id)
    assert job is not None
    versions = [control.cancel(operation.id, ann).version for _ in range(2)]
    assert versions[0] == versions[1]
    end(job, SYNCED)
    assert control.cancel(operation.id, ann).status == "cancelled"
    assert deeds().filter(text="Cancelled.").count() == 1

    Subscription.objects.all().update(status="failed", queued_at=None)
    other = bulk.start(RETRY, ASKER)
    for subscription in subscriptions:
        assert run(subscription.id)
    with pytest.raises(Refused, match="finished already"):
        control.cancel(other.id, ASKER)


def test_cancels_and_claims_at_once_leave_each_subscription_either_run_or_untouched() -> None:
    subscriptions = fleet(apps=2, each=8)
    before = {row["id"]: row for row in rows()}
    operation = bulk.start(RETRY, ASKER)

    def act(number: int) -> bool:
        if number == 8:
            control.cancel(operation.id, ASKER)
            return False
        return run(subscriptions[number].id) or run(subscriptions[-1 - number].id)

    with sampling():
        in_threads(act, 9)

    assert operation.status in ("running", "cancelled")
    assert adds_up()
    assert counts(operation).keys() <= {"succeeded", "cancelled"}
    for item in OperationItem.objects.filter(status="cancelled"):
        assert Subscription.objects.filter(id=item.subscription_id).values().get() == before[item.subscription_id]


def test_a_cancel_sees_an_item_that_was_put_back_while_it_waited_for_the_operation() -> None:
    """It waits for the row that the run which is handed back has locked, and must not go by what it saw before."""
    subscriptions = fleet(apps=1, each=8)
    for _ in range(6):
        Subscription.objects.update(
            status="failed", due_at=None, queued_at=None, lease_token=None, lease_expires_at=None
        )
        operation = bulk.start(RETRY, ASKER)
        jobs = [claim(s.id) for s in subscriptions]
        hand_back_beside(jobs, partial(control.cancel, operation.id, ASKER))
        assert (adds_up(), counts(operation), operation.status) == (True, {"cancelled": 8}, "cancelled")
