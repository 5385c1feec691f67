"""A message that failed for a moment gets a second chance in the same run; a rejected one has none."""

import threading
from collections import Counter

import pytest
from django.db import connection
from pytest_django import Settings

from syncsvc.models import App
from syncsvc.sync.watch import WATCHER
from tests.receiver import OK, Misbehaviour, Reply, reset
from tests.sync.answers import always, files_of, refuses
from tests.sync.world import World


def test_a_hiccup_costs_a_request(world: World) -> None:
    world.repo.commit({f"{n:03}": b"1" for n in range(300)})
    count = iter(range(10_000))
    answers = [lambda _, body: reset, always(500), always(502), always(408)]

    def answer(headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        number = next(count)
        return answers[number // 20 % 4](headers, body) if number % 20 == 7 else OK  # type: ignore[no-any-return, operator]

    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("synced", 300, 0)
    assert 300 < run.requests < 330
    ids = Counter(request.headers["webhook-id"] for request in world.receiver.requests)
    assert len(ids) == 300, "a second chance is the same message"


def test_a_kinds_second_chances_end_before_the_next_kind_begins(world: World, settings: Settings) -> None:
    settings.RESEND_DELAYS = (0.1, 0.1)
    world.repo.commit({f"{n}": b"1" for n in range(8)})
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({"0": None, "1": b"2", "new": b"1"})
    world.receiver.answer = refuses("0", "new", status=500)

    run = world.run()

    assert [kind for kind, _ in world.told(before)] == [*["file.deleted"] * 3, *["file.created"] * 3, "file.updated"]
    assert (run.delivered, run.failed) == (1, 2)


def test_what_waits_for_its_second_chance_has_not_failed_where_the_run_is_broken_off(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.02)
    settings.RESEND_DELAYS = (30, 30)
    world.repo.commit({"a": b"1", "b": b"1"})

    def pauses(headers: dict[str, str], body: bytes) -> Reply:
        App.objects.update(is_active=False)
        connection.close()
        return refuses("a", status=500)(headers, body)  # type: ignore[return-value]

    world.receiver.answer = pauses

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("interrupted", 1, 0)
    assert (world.subscription.retry_count, world.subscription.failing_since) == (0, None)


def test_what_is_rejected_has_no_second_chance(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.receiver.answer = refuses("a", status=422)

    assert world.run().requests == 2


def test_many_big_bad_files_wait_for_their_second_chance_without_a_git_each(world: World, settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES, settings.RESEND_DELAYS = 1024, (0.3, 0.3)
    before, most = children(), 0

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        nonlocal most
        most = max(most, children() - before)
        bad = any(file.get("chunk", {}).get("index") == 1 for file in files_of(body))
        return (500, {}, b"", 0.0) if bad else OK

    world.repo.commit({f"big{n}": bytes([n]) * 3000 for n in range(12)} | {"small": b"1"})
    world.receiver.answer = answer

    run = world.run()

    assert (run.delivered, run.failed) == (1, 12)
    assert 0 < most <= 3, "two big files, and what reads the small ones"
    indexes = Counter(
        (file["path"], file["chunk"]["index"])
        for request in world.receiver.requests
        for file in files_of(request.body)
        if "chunk" in file
    )
    assert indexes == {(f"big{n}", index): 1 if index == 0 else 3 for n in range(12) for index in (0, 1)}


def children() -> int:
    """Processes of git that this one has."""
    count = 0
    for thread in threading.enumerate():
        try:
            with open(f"/proc/self/task/{thread.native_id}/children") as file:
                count += len(file.read().split())
        except OSError:
            pass
    return count


@pytest.mark.parametrize("status", [500, 429])
def test_a_part_that_meets_409_when_it_is_sent_again_begins_its_file_again_once(
    world: World, settings: Settings, status: int
) -> None:
    """The endpoint had taken it, and answered otherwise."""
    settings.CONTENT_CHUNK_BYTES = 1024
    taken: set[int] = set()

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        index = files_of(body)[0]["chunk"]["index"]
        if index == 0:
            taken.clear()
        if index in taken:
            return 409, {}, b"out of order", 0.0
        taken.add(index)
        return (status, {}, b"", 0.0) if len(world.receiver.requests) == 2 else OK

    world.repo.commit({"big": bytes(range(256)) * 16})
    world.receiver.answer = answer

    run = world.run()

    assert (run.outcome, run.error) == ("synced", "")
    indexes = [file["chunk"]["index"] for r in world.receiver.requests for file in files_of(r.body)]
    assert indexes == [0, 1, 1, 0, 1, 2, 3]


def test_a_file_whose_parts_never_add_up_begins_again_once(world: World, settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"big": bytes(range(256)) * 16, "small": b"1"})
    world.receiver.answer = lambda _, body: (
        (409, {}, b"", 0.0) if any(file.get("chunk", {}).get("index") == 2 for file in files_of(body)) else OK
    )

    run = world.run()

    assert (run.delivered, run.failed, run.requests) == (1, 1, 7)
