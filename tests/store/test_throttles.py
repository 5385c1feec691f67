"""The wait that an endpoint asked for, as the app's row has it, whoever notes, waits for, or ends it."""

from datetime import datetime, timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from syncsvc.models import App
from syncsvc.store import throttles
from syncsvc.store.throttles import Throttled
from tests.factories import AppFactory
from tests.operations.fleet import in_threads

pytestmark = pytest.mark.django_db

FIRST, MOST = 10.0, 35.0


def refuse(app: App, asked: float | None = None) -> tuple[Throttled, bool]:
    state, begins = throttles.throttle(app.id, url=app.url, asked=asked, first=FIRST, most=MOST)
    assert state is not None
    return state, begins


def pass_time(seconds: float) -> None:
    """For every app, by moving its times back."""
    ago = timedelta(seconds=seconds)
    for name in ("throttled_until", "throttled_at", "throttled_since", "probe_until"):
        App.objects.filter(**{f"{name}__isnull": False}).update(**{name: F(name) - ago})


@pytest.mark.parametrize("asked", [None, 600])
def test_what_another_url_asked_for_is_nothing_to_the_present_one(asked: float | None) -> None:
    app = AppFactory()
    before = throttles.throttle(app.id, url="https://before.example/", asked=asked, first=FIRST, most=MOST)
    assert before == (None, False)
    assert App.objects.get().throttled_until is None


def test_refusals_of_one_wait_lengthen_its_step_once() -> None:
    """Several processes meet one each."""
    app = AppFactory()

    seen = [refuse(app) for _ in range(4)]

    assert [begins for _, begins in seen] == [True, False, False, False]
    assert all(9 < state.remaining <= 10 for state, _ in seen)
    pass_time(11)
    assert 19 < refuse(app)[0].remaining <= 20


@pytest.mark.parametrize(
    ("asked", "again", "waits"),
    [(60, 20, 60), (20, 60, 60), (60, None, 60), (None, 60, 60), (None, 5, 10), (None, None, 10)],
)
def test_a_second_refusal_never_makes_a_wait_shorter(asked: float | None, again: float | None, waits: float) -> None:
    app = AppFactory()
    refuse(app, asked)

    state, begins = refuse(app, again)

    assert not begins
    assert waits - 1 < state.remaining <= waits


def test_silence_is_counted_while_somebody_waits_and_not_while_nobody_tries() -> None:
    app = AppFactory()
    refuse(app, 600)
    pass_time(600)
    assert 599 < refuse(app, 600)[0].silent < 602
    pass_time(1200)  # ten minutes more than the endpoint asked for
    known = throttles.throttled(app.id)
    assert known is not None
    assert (known.remaining, 1200 <= known.silent < 1262) == (0, True)

    state, begins = refuse(app, 600)

    assert begins
    assert 1200 <= state.silent < 1262


def test_an_app_that_is_not_throttled_has_no_wait_and_no_first_run() -> None:
    app = AppFactory()
    assert throttles.throttled(app.id) is None
    assert not throttles.go_first(app.id, early=True, seconds=60)
    assert not throttles.end_throttle(app.id, sent_at=timezone.now())


RUNS = st.integers(0, 3)


class Throttling(RuleBasedStateMachine):
    """Runs of several workers meet refusals, wait, go first, succeed, die; an hour may pass, or a second."""

    @initialize()
    def begin(self) -> None:
        App.objects.all().delete()
        self.app = AppFactory()
        self.firsts: dict[int, float] = {}
        # Seconds that have passed since the last refusal; None without a wait.
        self.refused_ago: float | None = None
        self.until: datetime | None = None

    def _row(self) -> App:
        return App.objects.get(id=self.app.id)

    @rule(asked=st.none() | st.sampled_from([1.0, 30.0, 600.0]))
    def refused(self, asked: float | None) -> None:
        refuse(self.app, asked)
        self.refused_ago = 0
        self.firsts.clear()  # its place is free again

    @rule(seconds=st.sampled_from([0.5, 31.0, 61.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        pass_time(seconds)
        if self.refused_ago is not None:
            self.refused_ago += seconds
        if self.until is not None:
            self.until -= timedelta(seconds=seconds)
        self.firsts = {run: left - seconds for run, left in self.firsts.items() if left > seconds}

    @rule(run=RUNS, early=st.booleans())
    def wants_to_go_first(self, run: int, early: bool) -> None:
        row = self._row()
        now = timezone.now()
        may = row.throttled_until is not None and (early or row.throttled_until <= now) and not self.firsts
        assert throttles.go_first(self.app.id, early=early, seconds=60) == may
        if may:
            self.firsts[run] = 60

    @rule(run=RUNS)
    def gives_way(self, run: int) -> None:
        if run in self.firsts:
            throttles.give_way(self.app.id)
            del self.firsts[run]

    @rule(ago=st.sampled_from([0.0, 5.0, 100.0]))
    def succeeds(self, ago: float) -> None:
        """A request that was sent so long ago."""
        ends = self.refused_ago is not None and self.refused_ago > ago
        if self.refused_ago is not None and abs(self.refused_ago - ago) < 0.4:
            return  # the order is not for a test's clock to know
        assert throttles.end_throttle(self.app.id, sent_at=timezone.now() - timedelta(seconds=ago)) == ends
        if ends:
            self.refused_ago = self.until = None
            self.firsts.clear()

    @invariant()
    def the_wait_only_moves_forward(self) -> None:
        if not hasattr(self, "app"):
            return
        row = self._row()
        assert (row.throttled_until is None) == (self.refused_ago is None)
        if self.until is not None:
            assert row.throttled_until is not None
            assert row.throttled_until >= self.until
        self.until = row.throttled_until
        if row.throttled_until is None:
            assert (row.throttled_at, row.throttled_since, row.throttle_step) == (None, None, 0)
            assert row.probe_until is None
        else:
            assert row.throttled_since is not None
            assert row.throttled_at is not None
            assert row.throttled_since <= row.throttled_at + timedelta(milliseconds=10)


def test_the_wait_is_one_whatever_runs_do() -> None:
    run_state_machine_as_test(
        Throttling,
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.django_db(transaction=True)
def test_workers_that_note_and_end_it_at_once_leave_a_row_that_makes_sense() -> None:
    """The database refuses any other; and each wait that began was ended, by one of them."""
    app = AppFactory()
    begun, ended = [0] * 6, [0] * 6

    def work(number: int) -> None:
        for _ in range(60):
            begun[number] += refuse(app)[1]
            if number < 2:
                ended[number] += throttles.end_throttle(app.id, sent_at=timezone.now() + timedelta(seconds=1))

    in_threads(work, 6)
    throttles.end_throttle(app.id, sent_at=timezone.now() + timedelta(seconds=1))

    assert 0 < sum(ended) <= sum(begun) <= sum(ended) + 1
