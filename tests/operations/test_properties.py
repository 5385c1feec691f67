"""Whatever is asked, ends badly, is lost or comes late, in any order: the promises of operations hold at every step."""

import os
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, OperationItem, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.operations import bulk, control, single
from syncsvc.operations.release import sweep_operations
from syncsvc.store import circuits, throttles
from syncsvc.store.claim import share_of
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.ending import Ending, HandedBack
from syncsvc.sync.job import Job
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.scheduler import end_expired_leases, wake_due_subscriptions
from tests.emptying import empty_database
from tests.operations.fleet import (
    ASKER,
    FAILED,
    HANDED_BACK,
    POSTPONED,
    RESYNC,
    RETRY,
    STOPPED,
    SYNCED,
    adds_up,
    claim,
    end,
    expire_leases,
    fleet,
    is_throttled,
    meets_open_circuit,
    probe_fails,
)

APPS, EACH = 2, 3
SUBSCRIPTIONS = st.integers(0, APPS * EACH - 1)
ENDINGS = {
    "synced": SYNCED,
    "failed": FAILED,
    "postponed": POSTPONED,
    "handed back": HANDED_BACK,
    "stopped": STOPPED,
    "mirror is being fetched": HandedBack(delay=30, awaits_fetch=True),
}
# Those that depend on the run.
ENDPOINTS: dict[str, Callable[[Job], Ending]] = {
    "open circuit": meets_open_circuit,
    "throttled": is_throttled,
    "throttled without end": partial(is_throttled, silent=1e6),
    "probe failed": probe_fails,
}
OUTCOMES = {
    "synced": "succeeded",
    "failed": "failed",
    "postponed": "failed",
    "stopped": "cancelled",
    "throttled without end": "failed",
    "probe failed": "failed",
}
# So many times ten minutes must pass, the wait that an endpoint asks for and the cool-down of a circuit: one probe that
# fails settles all that waits for it, and an hour without anything taken.
WAITS = {"": 1, "down": 1, "throttles": 7}

LOST = datetime(2020, 1, 1, tzinfo=UTC)


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """What kind of refusal it is; blank where it is none."""
    try:
        call(*arguments, ASKER, **options)
    except Refused as refused:
        return refused.kind
    return ""


def meets_dead_endpoint(job: Job) -> Ending:
    """As a run does that sends something to an endpoint which never answers."""
    app, url = job.app.id, job.app.url
    if App.objects.filter(id=app, circuit_opened_at=None).exists():
        for number in range(5):
            circuits.note_failure(app, f"{number}", url=url, threshold=5)
        circuits.open_circuit(app, url=url, threshold=5, cooldown=600)
        return POSTPONED
    if circuits.take_probe(app, early=False, seconds=60):
        circuits.probe_failed(app, cooldown=600)
        return probe_fails(job)
    return meets_open_circuit(job)


def meets_throttling_endpoint(job: Job) -> Ending:
    app = job.app.id
    state = throttles.throttled(app)
    if state is None or throttles.go_first(app, early=False, seconds=60):
        state, _ = throttles.throttle(app, url=job.app.url, asked=600, first=1, most=30)
        assert state is not None
    return is_throttled(job, remaining=state.remaining, silent=state.silent)


def let_time_pass() -> None:
    """Ten minutes, in which every wait and cool-down ends."""
    tens = timedelta(minutes=10)
    App.objects.filter(circuit_opened_at__isnull=False).update(
        circuit_opened_at=F("circuit_opened_at") - tens, circuit_until=Now()
    )
    App.objects.filter(throttled_until__isnull=False).update(
        throttled_since=F("throttled_since") - tens, throttled_until=Now()
    )
    App.objects.update(probe_until=None)


def claim_as_a_slot_does(id: uuid.UUID) -> Job | None:
    """What an operation has released is claimed in its turn, whose wake-up ever it was."""
    share = share_of(id)
    return Job.claim_next_released(worker="test") if share and share.in_bulk else claim(id)


class Operations(RuleBasedStateMachine):
    """Workers, a scheduler, operators and pushes, one step at a time.

    No rule has a precondition: what hypothesis may draw must not depend on rows, whose ids are others each time.
    """

    @initialize(resync=st.booleans(), window=st.integers(1, 8), dead=st.sampled_from(["", "", "down", "throttles"]))
    def begin(self, resync: bool, window: int, dead: str) -> None:
        """With an operation: most that can go wrong begins with one. `dead`: the first app never takes anything."""
        empty_database()
        self.dead_how = dead
        self.ids = [s.id for s in fleet(apps=APPS, each=EACH)]
        self.running: dict[uuid.UUID, Job] = {}
        self.dead: list[Job] = []
        self.ended: dict[int, tuple[Any, ...]] = {}
        bulk.start(RESYNC if resync else RETRY, ASKER, max_running=window)

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

    @rule(
        model=st.sampled_from([App, Repository, Subscription]),
        number=SUBSCRIPTIONS,
        active=st.sampled_from([True, True, False]),
    )
    def pause_some(self, model: type[App], number: int, active: bool) -> None:
        known = self.known(number)
        ids = {App: known.app_id, Repository: known.repository_id, Subscription: known.id}
        model.objects.filter(id=ids[model]).update(is_active=active)  # type: ignore[index]

    # What workers do

    @rule(numbers=st.lists(SUBSCRIPTIONS, min_size=1, max_size=APPS * EACH))
    def wake_ups_arrive(self, numbers: list[int]) -> None:
        """Perhaps second ones, or stale ones. Of what is released they take the first, whose wake-up ever it is."""
        for number in numbers:
            self.take(partial(claim_as_a_slot_does, self.ids[number]))

    @rule(full=st.none() | st.integers(0, APPS - 1))
    def a_slot_gets_free(self, full: int | None) -> None:
        """It goes on with what is released, except for apps that have their share of the slots."""
        barred = [] if full is None else [self.known(full * EACH).app_id]
        job = self.take(lambda: Job.claim_next_released(worker="test", barred=barred))
        assert job is None or (job.in_bulk and job.app.id not in barred)

    def take(self, claim_one: Callable[[], Job | None]) -> Job | None:
        epochs = dict(Subscription.objects.values_list("id", "epoch"))
        released = OperationItem.objects.filter(released_at__isnull=False, status="waiting")
        items = {item.subscription_id: item for item in released}
        job = claim_one()
        if job is None:
            return None
        id = job.subscription.id
        assert id not in self.running, "two runs at once"
        self.running[id] = job
        assert job.in_bulk == (id in items)
        if item := items.get(id):
            item.refresh_from_db()
            assert (item.status, item.run_id) == ("running", job.run_id)
            forgets = item.operation.kind == "resync" and epochs[id] == job.epoch - 1
            assert forgets or job.epoch == epochs[id]
        return job

    @rule(hows=st.lists(st.sampled_from([*ENDINGS, *ENDPOINTS]), min_size=1, max_size=APPS * EACH))
    def runs_end(self, hows: list[str]) -> None:
        for id, how in zip(sorted(self.running), hows, strict=False):
            self.end(self.running.pop(id), how)

    def end(self, job: Job, how: str) -> None:
        item = OperationItem.objects.filter(run_id=job.run_id).first()
        end(job, ENDPOINTS[how](job) if how in ENDPOINTS else ENDINGS[how])
        if item is not None:
            item.refresh_from_db()
            assert item.status in ((OUTCOMES[how],) if how in OUTCOMES else ("waiting", "cancelled", "skipped"))

    @rule(choice=st.integers(0, 9))
    def a_worker_dies(self, choice: int) -> None:
        if not self.running:
            return
        id = sorted(self.running)[choice % len(self.running)]
        self.dead.append(self.running.pop(id))
        Subscription.objects.filter(id=id).update(lease_expires_at="2020-01-01T00:00:00Z")
        assert end_expired_leases() == 1

    @rule(how=st.sampled_from(list(ENDINGS)))
    def one_that_was_taken_for_dead_settles(self, how: str) -> None:
        """Its answer came too late: it writes nothing."""
        if not self.dead:
            return
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
        """All is well again, but for an endpoint perhaps: every operation ends in a time that was known beforehand."""
        if not hasattr(self, "ids"):
            return
        for model in (App, Repository, Subscription):
            model.objects.update(is_active=True)
        for id in Operation.objects.filter(status="paused").values_list("id", flat=True):
            control.resume(id, ASKER)
        expire_leases()
        for _ in range(1 + WAITS[self.dead_how]):
            while self.everybody_works():
                pass
            if not Operation.objects.open().exists():
                break
            let_time_pass()
        left = OperationItem.objects.filter(status__in=("waiting", "running")).values()
        assert not Operation.objects.open().exists(), list(left)
        assert adds_up()

    def everybody_works(self) -> bool:
        """Workers and the scheduler do what may be done at this moment; whether that was anything."""
        self.wake_ups_are_lost()
        Subscription.objects.filter(awaits_fetch=True).update(due_at=LOST)
        self.sweep()
        jobs = [job for id in random.sample(self.ids, len(self.ids)) if (job := claim_as_a_slot_does(id))]
        for job, ending in [(job, self.meets(job)) for job in jobs]:
            end(job, ending)
        return bool(jobs)

    def meets(self, job: Job) -> Ending:
        if job.subscription.id not in self.ids[:EACH] or not self.dead_how:
            return SYNCED
        return meets_dead_endpoint(job) if self.dead_how == "down" else meets_throttling_endpoint(job)

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
            max_examples=int(os.environ.get("OPERATIONS_EXAMPLES", "8")),
            stateful_step_count=25,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),  # making a failure smaller takes minutes
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
