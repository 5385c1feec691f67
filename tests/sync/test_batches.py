"""Changes that travel together in one request."""

import json
from typing import Any

import pytest
from django.db.models import Count
from pytest_django import Settings

from syncsvc.delivery.payload import batch_id
from syncsvc.models import App, DeliveryAttempt, Status
from tests.receiver import OK, Reply, accept
from tests.sync.answers import always, files_of, in_turn, refuses
from tests.sync.world import World, contents


@pytest.fixture(autouse=True)
def _batches(world: World) -> None:
    App.objects.update(max_batch=10)


def batches(world: World) -> list[list[dict[str, Any]]]:
    return [event["data"]["files"] for event in world.events() if event["type"] == "files.batch"]


def test_up_to_max_batch_changes_travel_in_one_request_and_are_acknowledged_together(world: World) -> None:
    world.repo.commit({f"{n:02}": b"%d" % n for n in range(25)})

    run = world.run()

    assert sorted(len(batch) for batch in batches(world)) == [5, 10, 10]
    assert (run.delivered, run.requests, run.outcome) == (25, 3, "synced")
    assert world.client().files == contents(world.repo)
    assert set(DeliveryAttempt.objects.values_list("kind", "files")) == {("batch", 10), ("batch", 5)}


def test_a_batchs_webhook_id_is_a_hash_of_its_files_ids(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"2"})

    world.run()

    (batch,) = batches(world)
    assert world.receiver.requests[0].headers["webhook-id"] == batch_id([file["id"] for file in batch])


def test_kinds_are_not_mixed_and_keep_their_order(world: World) -> None:
    world.repo.commit({"change": b"1", "drop": b"1"})
    world.run()
    world.repo.commit({"change": b"2", "drop": None, "new": b"1"})

    world.run()

    assert [[file["type"] for file in batch] for batch in batches(world)[1:]] == [
        ["file.deleted"],
        ["file.created"],
        ["file.updated"],
    ]


def test_a_batch_has_at_most_1_mib(world: World) -> None:
    world.repo.commit({f"{n}": bytes([97 + n]) * 400_000 for n in range(5)})

    world.run()

    assert sorted(len(batch) for batch in batches(world)) == [1, 2, 2]
    assert max(len(request.body) for request in world.receiver.requests) < 1024 * 1024


def test_a_file_whose_json_alone_is_over_1_mib_travels_by_itself(world: World) -> None:
    world.repo.commit({"a": b"1", "control": b"\x01" * 300_000, "z": b"1"})

    world.run()

    types = sorted(event["type"] for event in world.events())
    assert types == ["file.created", "files.batch"]
    assert world.client().files == contents(world.repo)


def test_files_that_come_in_parts_never_travel_in_a_batch(world: World, settings: Settings) -> None:
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"a": b"1", "big": b"x" * 3000, "z": b"2"})

    world.run()

    assert sorted(file["file"]["path"] for batch in batches(world) for file in batch) == ["a", "z"]
    parts = [event for event in world.events() if event["type"] == "file.created"]
    assert [part["data"]["file"]["chunk"]["index"] for part in parts] == [0, 1, 2]


@pytest.mark.parametrize(("status", "times"), [(400, 1), (422, 1), (500, 2)])
def test_a_refused_batch_goes_out_file_by_file_in_the_same_run_and_only_the_bad_one_fails(
    world: World, status: int, times: int
) -> None:
    """Once again as it is, before, where the refusal may pass by itself."""
    world.repo.commit({f"{n:02}": b"%d" % n for n in range(10)})
    world.receiver.answer = refuses("03", status=status)

    run = world.run()

    assert (run.outcome, run.delivered, run.failed, run.requests) == ("postponed", 9, 1, times + 10)
    assert run.error_kind == ("endpoint_error" if status == 500 else "endpoint_rejected")
    events, requests = world.events(), world.receiver.requests
    assert len({request.headers["webhook-id"] for request in requests[:times]}) == 1
    ids = {file["file"]["path"]: file["id"] for file in events[0]["data"]["files"]}
    sent = {e["data"]["file"]["path"]: r for e, r in zip(events[times:], requests[times:], strict=True)}
    assert {path: request.headers["webhook-id"] for path, request in sent.items()} == ids
    assert [path for path, row in world.ledger().items() if row.in_doubt] == [b"03"]


@pytest.mark.parametrize(
    ("status", "kind", "failed"),
    [(410, "endpoint_gone", 10), (429, "endpoint_throttled", 0), (503, "endpoint_throttled", 0)],
)
def test_answers_that_are_not_about_the_batch_end_the_run_instead(
    world: World, status: int, kind: str, failed: int
) -> None:
    world.repo.commit({f"{n:02}": b"%d" % n for n in range(10)})
    world.receiver.answer = always(status, {"Retry-After": "600"})

    run = world.run()

    assert (run.requests, run.error_kind, run.failed) == (1, kind, failed)


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_batch_goes_out_again_as_it_is(world: World, status: int) -> None:
    world.repo.commit({f"{n:02}": b"%d" % n for n in range(10)})
    world.receiver.answer = in_turn(always(status), always(status), accept)

    run = world.run()

    assert (run.outcome, run.delivered, run.requests) == ("synced", 10, 3)
    assert len({request.headers["webhook-id"] for request in world.receiver.requests}) == 1


@pytest.mark.parametrize("threshold", [1, 5])
def test_batches_that_open_the_circuit_are_told_as_what_they_are(
    world: World, settings: Settings, threshold: int
) -> None:
    settings.CIRCUIT_THRESHOLD = threshold
    App.objects.update(max_batch=2)
    world.repo.commit({f"{n:02}": b"%d" % n for n in range(40)})
    world.receiver.answer = always(500)

    run = world.run()

    assert (run.outcome, run.error_kind, run.delivered) == ("postponed", "endpoint_error", 0)
    assert "500" in run.error
    assert App.objects.get().circuit_opened_at is not None


def test_an_unanswered_batch_is_repeated_with_the_same_ids_even_where_it_is_cut_differently(
    world: World, settings: Settings
) -> None:
    settings.WEBHOOK_TIMEOUT = 0.3
    world.repo.commit({f"{n}": b"%d" % n for n in range(4)})
    world.receiver.answer = always(204, delay=2)
    run = world.run()
    assert (run.error_kind, run.failed) == ("endpoint_timeout", 4)
    ids = {file["file"]["path"]: file["id"] for file in batches(world)[0]}
    world.receiver.answer = accept
    App.objects.update(max_batch=3)

    assert world.run_when_due() is not None

    assert {file["file"]["path"]: file["id"] for batch in batches(world)[1:] for file in batch} == ids
    assert world.subscription.status == Status.SYNCED


def test_what_the_batch_refused_and_the_single_file_took_is_settled(world: World) -> None:
    def only_singles(headers: dict[str, str], body: bytes) -> Reply:
        return (413, {}, b"", 0.0) if json.loads(body)["type"] == "files.batch" else OK

    world.repo.commit({f"{n:02}": b"%d" % n for n in range(30)})
    world.receiver.answer = only_singles

    run = world.run()

    assert (run.outcome, run.delivered, run.failed) == ("synced", 30, 0)
    counted = DeliveryAttempt.objects.values_list("kind").annotate(n=Count("id")).order_by("kind")
    assert list(counted) == [("batch", 3), ("created", 30)]
    assert all(len(files_of(r.body)) in {1, 10} for r in world.receiver.requests)
