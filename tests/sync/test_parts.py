"""Big files that come in parts, each after the one before was acknowledged."""

import base64
import hashlib
from typing import Any

import pytest
from pytest_django import Settings

from syncsvc.models import Status
from tests.receiver import OK, Reply, accept
from tests.sync.answers import files_of, in_turn, refuses
from tests.sync.world import World, contents

BIG = bytes(range(256)) * 10  # 2,560 bytes: three parts of 1,024


@pytest.fixture(autouse=True)
def _small_parts(settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES = 1024


def parts(world: World, since: int = 0) -> list[dict[str, Any]]:
    return [event["data"]["file"] for event in world.events(since)]


def test_a_big_file_comes_in_parts_in_order_with_one_id_and_the_hash_only_in_the_last(world: World) -> None:
    world.repo.commit({"big": BIG})

    run = world.run()

    first, second, last = parts(world)
    (change_id,) = {part["chunk"]["id"] for part in (first, second, last)}
    assert [part["chunk"]["index"] for part in (first, second, last)] == [0, 1, 2]
    assert {part["chunk"]["total"] for part in (first, second, last)} == {3}
    assert [request.headers["webhook-id"] for request in world.receiver.requests] == [f"{change_id}.{n}" for n in "012"]
    assert [part["sha256"] for part in (first, second, last)] == [None, None, hashlib.sha256(BIG).hexdigest()]
    assert {(part["size"], part["encoding"], part["mode"]) for part in (first, second, last)} == {
        (2560, "base64", "100644")
    }
    assert b"".join(base64.b64decode(part["content"]) for part in (first, second, last)) == BIG
    assert (run.outcome, run.delivered, run.requests, run.bytes) == ("synced", 1, 3, 2560)


def test_a_part_goes_out_after_the_one_before_was_acknowledged_while_other_files_go_on(world: World) -> None:
    slow = 0.3
    world.repo.commit({"big": BIG, **{f"small{n}": b"1" for n in range(10)}})
    world.receiver.answer = lambda _, body: (204, {}, b"", slow if "chunk" in files_of(body)[0] else 0.0)

    world.run()

    arrived = {}
    for request in world.receiver.requests:
        (file,) = files_of(request.body)
        arrived[file["path"], file.get("chunk", {}).get("index")] = request.at
    assert arrived["big", 1] - arrived["big", 0] >= slow
    assert arrived["big", 2] - arrived["big", 1] >= slow
    assert max(at for (path, _), at in arrived.items() if path != "big") < arrived["big", 1]
    assert world.client().files == contents(world.repo)


def test_only_the_last_parts_acknowledgement_writes_the_ledger(world: World) -> None:
    world.repo.commit({"big": BIG})
    world.receiver.answer = in_turn(accept, accept, refuses("big", status=500))

    run = world.run()

    assert (run.outcome, run.delivered, run.failed, run.requests) == ("postponed", 0, 1, 5)
    row = world.ledger()[b"big"]
    assert (row.blob, row.in_doubt) == (None, True)


def test_an_interrupted_file_starts_again_at_its_first_part_with_the_same_ids(world: World) -> None:
    world.repo.commit({"big": BIG})
    world.receiver.answer = in_turn(accept, refuses("big", status=500))
    world.run()
    before = len(world.receiver.requests)
    ids = [request.headers["webhook-id"] for request in world.receiver.requests]
    world.receiver.answer = accept

    run = world.run_when_due()

    assert run is not None
    assert run.outcome == "synced"
    again = [request.headers["webhook-id"] for request in world.receiver.requests[before:]]
    assert ids == [again[0], *[again[1]] * 3], "the part that is refused has its second chances"
    assert [part["chunk"]["index"] for part in parts(world, before)] == [0, 1, 2]
    assert world.subscription.status == Status.SYNCED


def test_more_big_files_than_are_open_at_once_all_arrive(world: World) -> None:
    world.repo.commit({f"big{n}": BIG + b"%d" % n for n in range(7)} | {"small": b"1"})

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", 8)
    assert world.client().files == contents(world.repo)


def test_a_damaged_big_file_never_completes_and_the_next_run_sends_it_whole(world: World) -> None:
    world.repo.commit({"big": BIG, "small": b"1"})
    world.receiver.answer = refuses("big", "small", status=500)
    world.run()
    world.damage(b"big")
    before = len(world.receiver.requests)
    world.receiver.answer = accept

    run = world.run_when_due()

    assert run is not None
    assert (run.outcome, run.error_kind, run.delivered, run.failed) == ("postponed", "git_corrupt", 1, 1)
    assert all(part["sha256"] is None for part in parts(world, before) if part["path"] == "big")
    last = world.run_when_due()
    assert last is not None
    assert (last.outcome, last.delivered) == ("synced", 1)
    assert world.client().files == contents(world.repo)


def test_the_same_many_requests_are_open_to_an_app_with_big_files_as_without(world: World) -> None:
    open_now: list[int] = []
    most: list[int] = []

    def count(headers: dict[str, str], body: bytes) -> Reply:
        open_now.append(1)
        most.append(len(open_now))
        world.receiver.stopping.wait(0.02)
        open_now.pop()
        return OK

    world.app.max_in_flight = 2
    world.app.save()
    world.repo.commit({f"big{n}": BIG for n in range(3)} | {f"s{n}": b"1" for n in range(10)})
    world.receiver.answer = count

    world.run()

    assert max(most) == 2
