"""The circuit on the app's row, whoever notes failures, opens, probes and closes it at the same time."""

import pytest

from syncsvc.models import App
from syncsvc.store import circuits
from tests.factories import AppFactory
from tests.operations.fleet import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

THRESHOLD = 5


def note(app: App, *messages: str) -> list[tuple[int, bool]]:
    return [circuits.note_failure(app.id, message, url=app.url, threshold=THRESHOLD) for message in messages]


def test_a_message_counts_once_however_often_it_fails() -> None:
    app = AppFactory()
    assert note(app, "a", "b", "a", "a", "c") == [(1, False), (2, False), (2, False), (2, False), (3, False)]


def test_no_more_messages_are_kept_than_it_takes_to_suspect_the_endpoint() -> None:
    app = AppFactory()
    assert note(app, *"abcdefgh")[-1] == (THRESHOLD, False)
    assert len(App.objects.get().failing_messages) == THRESHOLD


def test_it_opens_only_where_nothing_has_succeeded_since() -> None:
    app = AppFactory()
    note(app, *"abcde")
    circuits.endpoint_answered(app.id)

    assert not circuits.open_circuit(app.id, url=app.url, threshold=THRESHOLD, cooldown=30)


def test_what_another_url_did_counts_for_nothing() -> None:
    app = AppFactory()
    note(app, *"abcde")
    columns = ("failing_messages", "failure_streak", "circuit_opened_at")
    before = App.objects.values_list(*columns).get()

    assert circuits.note_failure(app.id, "f", url="https://before.example/", threshold=THRESHOLD) == (0, False)
    assert not circuits.open_circuit(app.id, url="https://before.example/", threshold=THRESHOLD, cooldown=30)

    assert App.objects.values_list(*columns).get() == before


@pytest.mark.parametrize("openings", [0, 1, 3])
def test_an_answer_ends_all_and_says_whether_it_was_open(openings: int) -> None:
    app = AppFactory()
    note(app, *"abcde")
    if openings:
        assert circuits.open_circuit(app.id, url=app.url, threshold=THRESHOLD, cooldown=0)
    for _ in range(openings - 1):
        assert circuits.take_probe(app.id, early=False, seconds=60)
        circuits.probe_failed(app.id, cooldown=0)

    assert circuits.endpoint_answered(app.id) == (openings > 0)

    row = App.objects.get()
    assert (row.failing_messages, row.failure_streak, row.circuit_openings) == ([], 0, 0)
    assert (row.circuit_opened_at, row.circuit_until, row.probe_until) == (None, None, None)
    assert not circuits.endpoint_answered(app.id)


def test_each_opening_is_closed_once_whoever_closes_it() -> None:
    """Those that close it make the back-offs due, once."""
    app = AppFactory()
    closed = [0] * 6

    def work(number: int) -> int:
        opened = 0
        for turn in range(100):
            if number < 3:
                note(app, *(f"{number} {turn} {message}" for message in "abcde"))
                circuits.open_circuit(app.id, url=app.url, threshold=THRESHOLD, cooldown=30)
                opened += 1
            else:
                closed[number] += circuits.endpoint_answered(app.id)
        return opened

    in_threads(work, 6)
    is_open = App.objects.get().circuit_opened_at is not None

    assert circuits.endpoint_answered(app.id) == is_open
    assert sum(closed) > 0
