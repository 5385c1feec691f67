"""What becomes of an item: its first run that ends by itself decides, in the transaction that ends it."""

import threading

import pytest
from django.db import connection

from syncsvc.models import Status, Subscription
from syncsvc.operations import bulk
from syncsvc.sync.ending import Ending, Held, Progress
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.plan import Plan
from syncsvc.sync.scheduler import end_expired_leases
from tests.factories import SnapshotFactory
from tests.operations.fleet import (
    ASKER,
    FAILED,
    HANDED_BACK,
    POSTPONED,
    RESYNC,
    RETRY,
    SYNCED,
    adds_up,
    claim,
    counts,
    end,
    expire_leases,
    fleet,
    run,
    sampling,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("ending", "count", "kind", "text"),
    [
        (SYNCED, "succeeded", "", ""),
        (FAILED, "failed", "git_not_found", "There is no such repository."),
        (POSTPONED, "failed", "git_unreachable", "The remote does not answer. Tries again by itself in "),
    ],
)
def test_a_run_that_ends_by_itself_settles_its_item(ending: Ending, count: str, kind: str, text: str) -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    assert run(subscription.id, ending)
    item = operation.items.get()
    assert (counts(operation), adds_up()) == ({count: 1}, True)
    assert (operation.status, item.status, item.error_kind) == ("finished", count, kind)
    assert item.reason.startswith(text)
    assert item.settled_at is not None
    assert item.released_at is None


def test_a_retry_begins_its_quick_tries_anew() -> None:
    (subscription,) = fleet(apps=1, each=1)
    bulk.start(RETRY, ASKER)
    assert run(subscription.id, POSTPONED)
    known = Subscription.objects.get()
    assert (known.status, known.retry_count) == (Status.PENDING, 1)


def test_a_held_run_is_a_failed_item() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    job = claim(subscription.id)
    assert job is not None
    end(job, Held(Progress(SnapshotFactory(repository=job.repository), Plan(known=100, deletes=90))))
    assert (counts(operation), operation.items.get().error_kind) == ({"failed": 1}, "mass_delete_held")


def test_a_run_that_is_handed_back_does_not_count_and_its_item_goes_on() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RESYNC, ASKER)
    assert run(subscription.id, HANDED_BACK)
    assert (counts(operation), adds_up()) == ({"waiting": 1}, True)
    assert run(subscription.id)
    assert (counts(operation), Subscription.objects.get().epoch) == ({"succeeded": 1}, 2)


def test_a_run_whose_worker_died_does_not_count_and_what_it_writes_late_is_refused() -> None:
    (subscription,) = fleet(apps=1, each=1)
    operation = bulk.start(RETRY, ASKER)
    job = claim(subscription.id)
    assert job is not None
    expire_leases()
    assert end_expired_leases() == 1
    assert (counts(operation), adds_up()) == ({"waiting": 1}, True)
    with pytest.raises(LeaseLostError):
        end(job, SYNCED)
    assert (counts(operation), adds_up()) == ({"waiting": 1}, True)
    again = claim(subscription.id)
    assert again is not None
    with pytest.raises(LeaseLostError):
        end(job, FAILED)
    assert counts(operation) == {"running": 1}
    end(again, SYNCED)
    assert counts(operation) == {"succeeded": 1}


def test_every_look_at_the_counts_adds_up_while_many_runs_end_in_every_way() -> None:
    subscriptions = fleet(apps=4, each=15)
    endings = [SYNCED, FAILED, POSTPONED, HANDED_BACK]
    with sampling() as looks:
        operation = bulk.start(RETRY, ASKER, max_running=12)

        def work(number: int) -> None:
            try:
                turn = number
                while todo := list(operation.items.filter(status="waiting").values_list("subscription_id", flat=True)):
                    for id in todo[number::4]:
                        turn += 1
                        run(id, endings[turn % 4])
                    run(todo[0])
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    found = counts(operation)
    assert operation.status == "finished"
    assert sum(found.values()) == len(subscriptions)
    assert set(found) >= {"succeeded", "failed"}
    assert len(looks) > 20
