"""Each state there is has one tone."""

from collections.abc import Iterable, Mapping
from typing import get_args

import pytest

from syncsvc.admin import tones
from syncsvc.admin.badges import run_badge
from syncsvc.models import App, AuditEntry, Operation, OperationItem, Status, Subscription, SyncRun
from syncsvc.statistics.queue import STATES
from syncsvc.types import ErrorKind

TABLES = [
    (tones.OF_STATUS, Status.values),
    (tones.OF_OUTCOME, SyncRun.Outcome.values),
    (tones.OF_OPERATION, Operation.Status.values),
    (tones.OF_ITEM, OperationItem.Status.values),
    (tones.OF_AUDIT, AuditEntry.Action.values),
    (tones.OF_QUEUED, STATES),
]


@pytest.mark.parametrize(("table", "states"), TABLES)
def test_each_state_has_a_tone(table: Mapping[str, tones.Tone], states: Iterable[str]) -> None:
    assert table.keys() == set(states)
    assert set(table.values()) <= set(get_args(tones.Tone))


@pytest.mark.parametrize("outcome", ["", *SyncRun.Outcome.values])
def test_a_run_of_any_outcome_has_a_badge(outcome: str) -> None:
    assert (outcome or "running") in run_badge(SyncRun(outcome=outcome, to_commit="1" * 40)).lower()


def test_what_tries_again_by_itself_is_between_good_and_bad() -> None:
    retrying = Subscription(status=Status.PENDING, error_kind=ErrorKind.ENDPOINT_TIMEOUT)
    assert tones.state_of(retrying) == ("Retrying", "warn")
    assert tones.state_of(Subscription(status=Status.PENDING, app=App()))[1] == "quiet"


def test_an_operation_in_which_something_failed_ended_badly() -> None:
    assert tones.tone_of_operation("finished", 0) == "good"
    assert tones.tone_of_operation("finished", 1) == "bad"
    assert tones.tone_of_operation("running", 1) == "busy"
