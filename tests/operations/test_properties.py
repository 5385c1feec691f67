"""Whatever is asked, ends badly, is lost or comes late, in any order: the promises of operations hold at every step."""

import os
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, OperationItem, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.operations import bulk, control, single
from syncsvc.operations.release import sweep_operations
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.scheduler import end_expired_leases, wake_due_subscriptions
from syncsvc.sync.spool import Spool
from tests.emptying import empty_database
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
    end,
    expire_leases,
    fleet,
    meets_open_circuit,
)

APPS, EACH = 2, 3
SUBSCRIPTIONS = st.integers(0, APPS * EACH - 1)
ENDINGS = {"synced": SYNCED, "failed": FAILED, "postponed": POSTPONED, "handed back": HANDED_BACK}
OUTCOMES = {"synced": "succeeded", "failed": "failed", "postponed": "failed"}


LOST = datetime(2020, 1, 1, tzinfo=UTC)


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """What kind of refusal it is; blank where it is none."""
    try:
        call(*arguments, ASKER, **options)
    except Refused as refused:
        return refused.kind
    return ""


class Operations(RuleBasedStateMachine):
    """Workers, a scheduler, operators and pushes, one step at a time."""

    @initialize()
    def begin(self) -> None:
        empty_database()
        self.ids = [s.id for s in fleet(apps=APPS, each=EACH)]
        self.running: dict[uuid.UUID, Job] = {}
        self.dead: list[Job] = []
        self.ended: dict[int, tuple[Any, ...]] = {}

    # What operators and remotes do

    @rule(number=SUBSCRIPTIONS, resync=st.booleans())
    def ask_for_one(self, number: int, resync: bool) -> None:
        known = self.known(number)
        queued = known.queued_at is not None and known.queued_at != LOST
        kind = refusal(single.resync if resync else single.retry, known.id)
        if known.paused:
            assert kind == "paused"
        elif known.status == Status.SYNCING or queued or (known.status == Status.SYNCED and not resync):
            assert kind == "conflict"
        else:
            assert (kind, self.known(number).epoch) == ("", known.epoch + resync)

    @rule(resync=st.booleans(), window=st.integers(1, 8), app=st.none() | st.integers(0, APPS - 1))
    def start(self, resync: bool, window: int, app: int | None) -> None:
        before = self.rows()
        scope = RESYNC if resync else RETRY
        if app is not None:
            scope = type(scope)(kind=scope.kind, app_id=self.known(app * EACH).app_id)
        assert refusal(bulk.start, scope, max_running=window) in ("", "conflict")
        assert self.rows() == before, "until it is claimed a subscription is untouched"

    @precondition(lambda self: Operation.objects.exists())
    @rule(call=st.sampled_from([control.cancel, control.pause, control.resume]), choice=st.integers(0, 9))
    def control(self, call: Any, choice: int) -> None:
        operation = list(Operation.objects.order_by("created_at"))[-1 - choice % Operation.objects.count()]
        before = self.rows()
        kind = refusal(call, operation.id)
        assert kind in ("", "conflict")
        assert self.rows() == before
        if kind:
            return
        if call is control.cancel:
            assert not operation.items.filter(status="waiting").exists()
        if call is control.pause:
            assert not operation.items.filter(status="waiting").exclude(released_at=None).exists()

    @rule(number=SUBSCRIPTIONS)
    def push(self, number: int) -> None:
        ask_for_runs(Subscription.objects.filter(repository=self.known(number).repository), Trigger.PUSH)

    @rule(model=st.sampled_from([App, Repository, Subscription]), number=SUBSCRIPTIONS, active=st.booleans())
    def pause_some(self, model: type[App], number: int, active: bool) -> None:
        known = self.known(number)
        ids = {App: known.app_id, Repository: known.repository_id, Subscription: known.id}
        model.objects.filter(id=ids[model]).update(is_active=active)  # type: ignore[index]

    # What workers do

    @rule(number=SUBSCRIPTIONS)
    def a_wake_up_arrives(self, number: int) -> None:
        """Perhaps a second one, or a stale one."""
        id = self.ids[number]
        before = self.known(number)
        item = OperationItem.objects.filter(subscription=id, released_at__isnull=False, status="waiting").first()
        job = claim(id)
        if job is None:
            return
        assert id not in self.running, "two runs at once"
        self.running[id] = job
        if item is not None:
            item.refresh_from_db()
            assert (item.status, item.run_id) == ("running", job.run_id)
            forgets = item.operation.kind == "resync" and before.epoch == job.epoch - 1
            assert forgets or job.epoch == before.epoch

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, 9), how=st.sampled_from([*ENDINGS, "open circuit"]))
    def a_run_ends(self, choice: int, how: str) -> None:
        id = sorted(self.running)[choice % len(self.running)]
        job = self.running.pop(id)
        item = OperationItem.objects.filter(run_id=job.run_id).first()
        with Spool("") as spool:
            end(job, meets_open_circuit(job, spool) if how == "open circuit" else ENDINGS[how])
        if item is not None:
            item.refresh_from_db()
            assert item.status in ((OUTCOMES[how],) if how in OUTCOMES else ("waiting", "cancelled", "skipped"))

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, 9))
    def a_worker_dies(self, choice: int) -> None:
        id = sorted(self.running)[choice % len(self.running)]
        self.dead.append(self.running.pop(id))
        Subscription.objects.filter(id=id).update(lease_expires_at="2020-01-01T00:00:00Z")
        assert end_expired_leases() == 1

    @precondition(lambda self: self.dead)
    @rule(how=st.sampled_from(list(ENDINGS)))
    def one_that_was_taken_for_dead_settles(self, how: str) -> None:
        """Its answer came too late: it writes nothing."""
        before = list(OperationItem.objects.order_by("id").values())
        with pytest.raises(LeaseLostError):
            end(self.dead.pop(), ENDINGS[how])
        assert list(OperationItem.objects.order_by("id").values()) == before

    # What the scheduler does, and time

    @rule()
    def sweep(self) -> None:
        end_expired_leases()
        wake_due_subscriptions()
        sweep_operations()

    @rule()
    def wake_ups_are_lost(self) -> None:
        Subscription.objects.exclude(queued_at=None).update(queued_at=LOST)

    # What holds at every step

    @invariant()
    def counts_add_up(self) -> None:
        assert adds_up()

    @invariant()
    def one_run_at_once(self) -> None:
        open_runs = list(SyncRun.objects.filter(outcome="").values_list("subscription_id", flat=True))
        assert sorted(open_runs) == sorted(getattr(self, "running", {}))

    @invariant()
    def what_has_settled_stays_so(self) -> None:
        settled = OperationItem.objects.exclude(status__in=("waiting", "running"))
        now = {
            row["id"]: tuple(row.values()) for row in settled.values("id", "status", "reason", "settled_at", "run_id")
        }
        for id, known in getattr(self, "ended", {}).items():
            assert now[id] == known
        self.ended = now

    @invariant()
    def windows_hold(self) -> None:
        for operation in Operation.objects.open():
            flying = operation.items.filter(status__in=("waiting", "running")).exclude(released_at=None)
            assert flying.count() <= operation.max_running
            assert operation.status == "running" or not flying.filter(status="waiting").exists()

    def teardown(self) -> None:
        """All is well again: everything comes to its end in a few rounds, and nothing is stuck."""
        if not hasattr(self, "ids"):
            return
        for model in (App, Repository, Subscription):
            model.objects.update(is_active=True)
        for id in Operation.objects.filter(status="paused").values_list("id", flat=True):
            control.resume(id, ASKER)
        expire_leases()
        for _ in range(EACH * APPS * Operation.objects.count() + 3):
            self.wake_ups_are_lost()
            self.sweep()
            jobs = [claim(id) for id in random.sample(self.ids, len(self.ids))]
            for job in jobs:
                if job is not None:
                    end(job, SYNCED)
        assert not Operation.objects.open().exists()
        assert adds_up()

    def known(self, number: int) -> Subscription:
        return Subscription.objects.select_related("app", "repository").get(id=self.ids[number])

    def rows(self) -> list[dict[str, Any]]:
        """What only a claim may change."""
        rows = Subscription.objects.order_by("id").values()
        return [{name: value for name, value in row.items() if name != "queued_at"} for row in rows]


def test_operations_keep_their_promises_in_any_order_of_events(transactional_db: None) -> None:
    run_state_machine_as_test(
        Operations,
        settings=settings(
            max_examples=int(os.environ.get("OPERATIONS_EXAMPLES", "12")),
            stateful_step_count=25,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),  # making a failure smaller takes minutes
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
