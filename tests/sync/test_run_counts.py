"""A run's counts while it goes on: those of a moment ago, for people to see; its end writes those that hold."""

import json
import time

import pytest
from django.db import connection

from syncsvc.models import App, SyncRun
from syncsvc.sync import recorder
from tests.receiver import Misbehaviour, Reply
from tests.sync.answers import refuses
from tests.sync.world import World

type Counts = tuple[int, int, int]
SECONDS = 10


def seen_soon(expected: Counts) -> Counts:
    """The counts of the run that goes on, once they are these."""
    deadline, found = time.monotonic() + SECONDS, (0, 0, 0)
    while found != expected and time.monotonic() < deadline:
        time.sleep(0.01)
        found = SyncRun.objects.values_list("delivered", "failed", "requests").get(outcome="")
    connection.close()
    return found


@pytest.mark.parametrize("good", [3, 30])
def test_a_run_shows_what_it_delivered_and_what_failed_before_it_ends(
    good: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.05)
    App.objects.update(max_in_flight=1)
    world.repo.commit({"a": b"1", **{f"b/{n:02}": b"1" for n in range(good)}, "c": b"1"})
    seen: list[Counts] = []
    refuse = refuses("a")

    def answer(headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        if json.loads(body)["data"]["file"]["path"] == "c":
            seen.append(seen_soon((good, 1, good + 1)))
        return refuse(headers, body)

    world.receiver.answer = answer

    run = world.run()

    assert seen == [(good, 1, good + 1)]
    assert (run.delivered, run.failed, run.requests) == (good + 1, 1, good + 2)
