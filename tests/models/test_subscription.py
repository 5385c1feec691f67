"""A subscription's transitions: each is one conditional UPDATE that says whether it won."""

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from syncsvc import store
from syncsvc.models import App, Operation, OperationItem, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.models.status import TRANSITIONS, Failure
from syncsvc.store.leases import renew_leases
from syncsvc.store.runs import RunRecord
from syncsvc.types import ErrorKind
from tests.factories import SnapshotFactory, SubscriptionFactory

TOKEN = uuid.UUID(int=1)
FAILURE = Failure(kind=ErrorKind.ENDPOINT_ERROR, error="The endpoint failed.", retry_count=3)


def claim(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return bool(store.claim.claim(id, token=token, run_id=uuid.uuid4(), worker="w"))


def complete(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return bool(
        store.complete.complete(id, token=token, snapshot_id=None, epoch=1, run_id=uuid.uuid4(), record=RunRecord())
    )


def postpone(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return Subscription.objects.postpone(id, token=token, failure=FAILURE, delay=60)


def fail(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return Subscription.objects.fail(id, token=token, failure=FAILURE, delay=3600)


def hand_back(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return Subscription.objects.hand_back(id, token=token)


def expire(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return id in Subscription.objects.expire(Subscription.objects.lease_is_over())


def request(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    asked = Subscription.objects.values_list("asked_at", flat=True)
    before = asked.get(id=id)
    Subscription.objects.filter(id=id).request(Trigger.PUSH)
    return asked.get(id=id) != before


def claim_released(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    operation = Operation.objects.create(
        kind="retry", scope_text="one", asked_by="a test", source="command", total=1, waiting=1
    )
    OperationItem.objects.create(
        operation=operation, subscription_id=id, app_id=uuid.uuid4(), turn=1, released_at=timezone.now()
    )
    return claim(id, token)


def retry(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return Subscription.objects.retry(id, asked_by="a test")


def resync(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return Subscription.objects.resync(id, asked_by="a test")


def stop(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    return Subscription.objects.stop(id, token=token, error="Stopped.", delay=3600)


def give_up_on_throttled(id: uuid.UUID, token: uuid.UUID = TOKEN) -> bool:
    """Of one whose endpoint has asked for fewer requests."""
    rows = Subscription.objects.filter(id=id)
    rows.update(error_kind=ErrorKind.ENDPOINT_THROTTLED)
    return rows.give_up_on_throttled(3600) == 1


VERBS: dict[str, Callable[..., bool]] = {
    "claim": claim,
    "claim_released": claim_released,
    "retry": retry,
    "resync": resync,
    "complete": complete,
    "postpone": postpone,
    "fail": fail,
    "hand_back": hand_back,
    "stop": stop,
    "give_up_on_throttled": give_up_on_throttled,
    "expire": expire,
    "request": request,
}
SETTLING = ["complete", "postpone", "fail", "hand_back", "stop"]


def in_status(status: Status, **values: Any) -> uuid.UUID:
    """One that is due, or whose lease has run out, so that only the status stands in a verb's way."""
    if status is Status.SYNCING:
        values = {"due_at": None, "lease_token": TOKEN, "lease_expires_at": timezone.now() - timedelta(1)} | values
    elif status is Status.SYNCED:
        values = {"due_at": None} | values
    id: uuid.UUID = SubscriptionFactory(status=status, **values).id
    return id


def status_of(id: uuid.UUID) -> Status:
    return Status(Subscription.objects.values_list("status", flat=True).get(id=id))


@pytest.mark.django_db
@pytest.mark.parametrize("run_again", [False, True])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", Status)
def test_every_verb_wins_exactly_from_where_the_table_says_and_leads_where_it_says(
    status: Status, verb: str, run_again: bool
) -> None:
    id = in_status(status, run_again=run_again)
    allowed = {after for (before, after), verbs in TRANSITIONS.items() if before is status and verb in verbs}

    won = VERBS[verb](id)

    assert won == bool(allowed)
    assert status_of(id) in (allowed or {status})


@pytest.mark.django_db
def test_every_transition_of_the_table_happens() -> None:
    seen = set()
    for status in Status:
        for verb, make in VERBS.items():
            for run_again in (False, True):
                id = in_status(status, run_again=run_again)
                if make(id):
                    seen.add((status, status_of(id), verb))

    assert seen == {(before, after, verb) for (before, after), verbs in TRANSITIONS.items() for verb in verbs}


@pytest.mark.django_db
@pytest.mark.parametrize("verb", SETTLING)
def test_a_run_whose_lease_is_somebody_elses_settles_nothing(verb: str) -> None:
    id = in_status(Status.SYNCING)
    before = Subscription.objects.values().get(id=id)

    assert not VERBS[verb](id, uuid.uuid4())
    assert Subscription.objects.values().get(id=id) == before


@pytest.mark.django_db
@pytest.mark.parametrize("verb", SETTLING)
def test_a_settled_run_settles_once(verb: str) -> None:
    id = in_status(Status.SYNCING)

    assert VERBS[verb](id)
    assert not VERBS[verb](id)
    row = Subscription.objects.get(id=id)
    assert (row.lease_token, row.lease_expires_at, row.run_again) == (None, None, False)


@pytest.mark.django_db
@pytest.mark.parametrize("model", [App, Repository, Subscription])
def test_what_is_paused_is_not_claimed_and_not_due_whoever_of_the_three_is_paused(model: Any) -> None:
    id = in_status(Status.PENDING)
    assert Subscription.objects.due().filter(id=id).exists()
    model.objects.update(is_active=False)

    assert not Subscription.objects.due().filter(id=id).exists()
    assert not claim(id)
    model.objects.update(is_active=True)
    assert claim(id)


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_what_is_not_due_is_not_claimed(status: Status) -> None:
    assert not claim(in_status(status, due_at=timezone.now() + timedelta(seconds=30)))
    assert claim(in_status(status, due_at=timezone.now() - timedelta(seconds=1)))


@pytest.mark.django_db
def test_a_held_one_without_a_time_is_claimed_only_after_somebody_asked() -> None:
    id = in_status(Status.FAILED, due_at=None)
    assert not claim(id)

    assert request(id)
    assert claim(id)


@pytest.mark.django_db
def test_a_claim_begins_a_run_with_what_asked_for_it() -> None:
    id = in_status(Status.PENDING)
    Subscription.objects.filter(id=id).request(Trigger.SYNC, asked_by="mary", allow_deletes=True)

    assert claim(id)

    run = SyncRun.objects.get()
    assert (run.trigger, run.asked_by, run.deletes_allowed, run.outcome) == ("sync", "mary", True, "")
    row = Subscription.objects.get(id=id)
    assert (row.lease_token, row.queued_at, row.due_at) == (TOKEN, None, None)
    assert row.lease_expires_at is not None
    assert row.lease_expires_at > timezone.now() + timedelta(seconds=50)


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_claims_exactly_one_wins() -> None:
    ids = [in_status(Status.PENDING) for _ in range(20)]
    start, wins = threading.Barrier(4), []

    def worker() -> None:
        start.wait()
        wins.extend(id for id in ids if claim(id, uuid.uuid4()))
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(wins) == sorted(ids)
    assert SyncRun.objects.count() == 20


@pytest.mark.django_db
def test_completing_clears_what_was_wrong_and_what_was_approved() -> None:
    id = in_status(
        Status.SYNCING,
        retry_count=3,
        error_kind="git_timeout",
        last_error="x",
        failing_since=timezone.now(),
        failure_notified=True,
        approved_commit="c",
        approved_deletes=9,
        allow_deletes=True,
    )
    snapshot = SnapshotFactory()

    assert store.complete.complete(
        id, token=TOKEN, snapshot_id=snapshot.id, epoch=4, run_id=uuid.uuid4(), record=RunRecord()
    )

    row = Subscription.objects.get(id=id)
    assert (row.retry_count, row.error_kind, row.last_error, row.failing_since) == (0, "", "", None)
    assert (row.failure_notified, row.approved_commit, row.approved_deletes) == (False, "", 0)
    assert (row.allow_deletes, row.clean_snapshot, row.snapshot, row.clean_epoch) == (False, snapshot, snapshot, 4)
    assert row.last_success_at is not None


@pytest.mark.django_db
def test_asking_while_it_is_queued_joins_that_run_and_sends_no_second_wake_up() -> None:
    id = in_status(Status.PENDING)
    rows = Subscription.objects.filter(id=id)

    assert [s.id for s in rows.request(Trigger.POLL)] == [id]
    assert rows.request(Trigger.SYNC, asked_by="mary") == []
    row = rows.get()
    assert (row.status, row.trigger, row.asked_by) == ("pending", "sync", "mary")


@pytest.mark.django_db
def test_a_wake_up_that_was_lost_is_sent_again_when_somebody_asks() -> None:
    id = in_status(Status.PENDING, queued_at=timezone.now() - timedelta(seconds=61))

    assert [s.id for s in Subscription.objects.filter(id=id).request(Trigger.POLL)] == [id]


@pytest.mark.django_db
def test_asking_for_a_paused_one_wakes_nobody_and_is_not_forgotten() -> None:
    id = in_status(Status.SYNCED, is_active=False)
    rows = Subscription.objects.filter(id=id)

    assert rows.request(Trigger.SYNC) == []
    assert (rows.get().status, rows.get().queued_at) == ("pending", None)
    rows.update(is_active=True)
    assert claim(id)


@pytest.mark.django_db
def test_asking_brings_a_later_try_forward_and_never_puts_one_off() -> None:
    later, earlier = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)
    for status in (Status.PENDING, Status.FAILED):
        id = in_status(status, due_at=later)
        request(id)
        assert Subscription.objects.get(id=id).due_at < timezone.now()  # type: ignore[operator]
        id = in_status(status, due_at=earlier)
        request(id)
        assert Subscription.objects.get(id=id).due_at == earlier


@pytest.mark.django_db
def test_a_poll_adds_nothing_to_a_run_that_somebody_waits_for() -> None:
    for status, values in ((Status.PENDING, {}), (Status.SYNCING, {"run_again": True})):
        id = in_status(status, trigger=Trigger.SYNC, asked_by="mary", **values)

        Subscription.objects.filter(id=id).request(Trigger.POLL)

        row = Subscription.objects.get(id=id)
        assert (row.trigger, row.asked_by) == ("sync", "mary")


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.SYNCED, Status.FAILED])
def test_a_poll_after_an_asked_run_has_ended_is_a_poll(status: Status) -> None:
    id = in_status(status, trigger=Trigger.BACK_OFF if status is Status.FAILED else Trigger.SYNC, asked_by="mary")

    Subscription.objects.filter(id=id).request(Trigger.POLL)

    row = Subscription.objects.get(id=id)
    assert (row.trigger, row.asked_by) == ("poll", "")


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["complete", "postpone", "fail"])
def test_asking_while_it_runs_makes_its_end_pending_and_due_now_for_who_asked(verb: str) -> None:
    id = in_status(Status.SYNCING, trigger=Trigger.POLL)
    Subscription.objects.filter(id=id).request(Trigger.SYNC, asked_by="mary", allow_deletes=True)

    assert VERBS[verb](id)

    row = Subscription.objects.get(id=id)
    assert (row.status, row.trigger, row.asked_by, row.allow_deletes) == ("pending", "sync", "mary", True)
    assert row.due_at is not None
    assert row.due_at <= timezone.now()
    assert not row.run_again


@pytest.mark.django_db
def test_handing_back_keeps_everything_as_it_was_before_the_claim() -> None:
    id = in_status(Status.FAILED, trigger=Trigger.SYNC, asked_by="mary", retry_count=2, error_kind="git_auth")
    Subscription.objects.filter(id=id).update(allow_deletes=True)
    claim(id)

    assert hand_back(id)

    row = Subscription.objects.get(id=id)
    assert (row.status, row.trigger, row.asked_by, row.retry_count) == ("pending", "sync", "mary", 2)
    assert (row.error_kind, row.allow_deletes) == ("git_auth", True)


@pytest.mark.django_db
def test_only_leases_that_ran_out_expire_and_what_was_allowed_stays_allowed() -> None:
    gone = in_status(Status.SYNCING, allow_deletes=True)
    held = in_status(Status.SYNCING, lease_expires_at=timezone.now() + timedelta(seconds=30))

    assert Subscription.objects.expire([gone, held]) == [gone]
    assert Subscription.objects.lease_is_over() == []
    assert (status_of(gone), status_of(held)) == (Status.PENDING, Status.SYNCING)
    assert Subscription.objects.get(id=gone).allow_deletes
    assert claim(gone)


@pytest.mark.django_db
def test_renewing_lengthens_held_leases_only() -> None:
    other = uuid.UUID(int=2)
    id = in_status(Status.SYNCING, lease_expires_at=timezone.now() + timedelta(seconds=1))
    hand_back(in_status(Status.SYNCING, lease_token=other), other)

    assert renew_leases([TOKEN, other]) == {TOKEN}
    expires = Subscription.objects.get(id=id).lease_expires_at
    assert expires is not None
    assert expires > timezone.now() + timedelta(seconds=50)


@pytest.mark.django_db
def test_the_end_of_a_fetch_makes_those_due_that_waited_for_it() -> None:
    waits, other = in_status(Status.SYNCING), in_status(Status.SYNCING)
    Subscription.objects.hand_back(waits, token=TOKEN, delay=30, awaits_fetch=True)
    Subscription.objects.hand_back(other, token=TOKEN, delay=30)
    assert not claim(waits)

    assert [s.id for s in Subscription.objects.all().fetch_ended()] == [waits]
    assert claim(waits)
    assert not claim(other)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values",
    [
        {"status": "gone"},
        {"status": "pending", "due_at": None},
        {"status": "synced"},
        {"status": "syncing", "due_at": None},
        {"lease_token": TOKEN},
        {"error_kind": "unheard_of"},
        {"retry_count": -1},
    ],
)
def test_the_database_refuses_a_row_that_makes_no_sense(values: dict[str, Any]) -> None:
    id = SubscriptionFactory().id

    with pytest.raises(IntegrityError), transaction.atomic():
        Subscription.objects.filter(id=id).update(**values)


@pytest.mark.django_db
def test_an_app_follows_a_repository_once() -> None:
    subscription = SubscriptionFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        SubscriptionFactory(app=subscription.app, repository=subscription.repository)


@pytest.mark.django_db
def test_a_subscription_is_named_by_app_and_repository_split_at_the_first_slash_or_by_id() -> None:
    subscription = SubscriptionFactory(app__name="acme", repository__name="owner/repo")

    assert Subscription.objects.named("acme/owner/repo") == subscription
    assert Subscription.objects.named(str(subscription.id)) == subscription
    for name in ("acme/repo", "acme", str(uuid.uuid4())):
        with pytest.raises(Subscription.DoesNotExist):
            Subscription.objects.named(name)


OUTAGE = [ErrorKind.ENDPOINT_ERROR, ErrorKind.ENDPOINT_CIRCUIT_OPEN]


@pytest.mark.django_db
def test_back_offs_of_an_outage_are_spread_over_a_few_seconds_when_it_ends() -> None:
    values = {"due_at": timezone.now() + timedelta(hours=1), "error_kind": ErrorKind.ENDPOINT_ERROR}
    ids = [in_status(Status.PENDING, **values) for _ in range(20)]
    soon = in_status(Status.PENDING, due_at=timezone.now() - timedelta(seconds=1))

    assert Subscription.objects.all().outage_ended(OUTAGE) == 20

    due = Subscription.objects.filter(id__in=ids).values_list("due_at", flat=True)
    seconds = [(at - timezone.now()).total_seconds() for at in due if at]
    assert -1 < min(seconds) < max(seconds) < 5.1
    assert max(seconds) - min(seconds) > 1
    assert claim(soon)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "kind", "moves"),
    [
        (Status.PENDING, ErrorKind.ENDPOINT_CIRCUIT_OPEN, True),
        (Status.PENDING, ErrorKind.ENDPOINT_REJECTED, False),
        (Status.PENDING, ErrorKind.GIT_UNREACHABLE, False),
        (Status.PENDING, "", False),
        (Status.FAILED, ErrorKind.ENDPOINT_ERROR, True),
        (Status.FAILED, ErrorKind.ENDPOINT_REJECTED, False),
        (Status.FAILED, ErrorKind.ENDPOINT_GONE, False),
    ],
)
def test_the_end_of_an_outage_moves_later_tries_of_its_kinds_alone(status: Status, kind: str, moves: bool) -> None:
    later = timezone.now() + timedelta(hours=1)
    id = in_status(status, due_at=later, error_kind=kind)

    assert Subscription.objects.all().outage_ended(OUTAGE) == moves
    assert (Subscription.objects.get(id=id).due_at == later) is not moves
    assert Subscription.objects.all().outage_ended(OUTAGE) in {0, moves}
    if moves:  # a second end makes none of them later
        assert Subscription.objects.get(id=id).due_at <= timezone.now() + timedelta(seconds=5)  # type: ignore[operator]


@pytest.mark.django_db
def test_due_now_is_by_the_databases_clock() -> None:
    id = in_status(Status.PENDING, due_at=timezone.now() + timedelta(hours=1))
    Subscription.objects.filter(id=id).update(due_at=Now())

    assert claim(id)
