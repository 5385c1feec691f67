"""How far a big file came is known for the same endpoint and parts of the same size; without Redis for none."""

import random
import uuid
from pathlib import Path

from pytest_django import Settings

from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from syncsvc.sync.begun import BegunFiles
from syncsvc.sync.cargo import Parts
from syncsvc.types import Change, ChangeKind
from tests.receiver import accept
from tests.sync.answers import always, in_turn
from tests.sync.world import World, contents

NOWHERE = "redis://127.0.0.1:1/0"


def big(next_part: int) -> Parts:
    limits = GitLimits(timeout=1, ls_remote_timeout=1, allow_local=True)
    mirror = Mirror(Path("/nowhere"), Remote("https://git.example/a.git"), limits)
    change = Change(ChangeKind.CREATED, b"big", "100644", "ab" * 20, 99, None, str(uuid.uuid4()))
    return Parts(change, mirror, part_bytes=9, next_part=next_part)


def test_it_is_known_for_the_same_endpoint_and_the_same_parts_alone() -> None:
    file = big(4)
    (change,) = file.changes
    BegunFiles("https://a.example/", part_bytes=9).note(file)

    assert BegunFiles("https://a.example/", part_bytes=9).next_part(change) == 4
    assert BegunFiles("https://b.example/", part_bytes=9).next_part(change) == 0
    assert BegunFiles("https://a.example/", part_bytes=8).next_part(change) == 0
    assert BegunFiles("https://a.example/", part_bytes=9).next_part(big(0).changes[0]) == 0


def test_a_run_whose_app_moves_goes_by_what_the_new_url_has() -> None:
    file = big(4)
    (change,) = file.changes
    begun = BegunFiles("https://a.example/", part_bytes=9)
    begun.note(file)

    begun.move("https://b.example/")

    assert begun.next_part(change) == 0


def test_without_redis_a_file_begins_at_its_first_part(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE
    begun, file = BegunFiles("https://a.example/", part_bytes=9), big(4)
    begun.note(file)
    assert begun.next_part(file.changes[0]) == 0


def test_a_part_beyond_the_end_is_not_believed() -> None:
    assert [big(number).next_part for number in (10, 11, 12)] == [10, 0, 0]


def test_a_file_whose_next_part_is_refused_begins_again_in_the_run_after(world: World, settings: Settings) -> None:
    """An endpoint that has lost the other parts may say so by another status than 409."""
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"big": b"x" * 5000})
    world.receiver.answer = in_turn(accept, accept, always(429, {"Retry-After": "600"}), always(400))
    assert world.run().error_kind == "endpoint_throttled"
    refused = world.run_when_due()
    assert refused is not None
    assert (refused.error_kind, refused.requests) == ("endpoint_rejected", 1)
    world.receiver.answer = accept
    sent = len(world.receiver.requests)

    again = world.run_when_due()

    assert again is not None
    assert again.outcome == "synced"
    assert [event["data"]["file"]["chunk"]["index"] for event in world.events(sent)] == [0, 1, 2, 3, 4]


def test_a_file_whose_copy_here_was_damaged_begins_again(world: World, settings: Settings) -> None:
    """The parts that the endpoint has may be of the damaged copy."""
    settings.CONTENT_CHUNK_BYTES = 1024
    world.repo.commit({"big": random.Random(1).randbytes(5000)})
    world.receiver.answer = in_turn(accept, accept, always(429, {"Retry-After": "600"}), accept)
    assert world.run().error_kind == "endpoint_throttled"
    world.damage(b"big")
    damaged = world.run_when_due()
    assert damaged is not None
    assert damaged.error_kind == "git_corrupt"
    sent = len(world.receiver.requests)

    again = world.run_when_due()

    assert again is not None
    assert again.outcome == "synced"
    assert [event["data"]["file"]["chunk"]["index"] for event in world.events(sent)] == [0, 1, 2, 3, 4]
    assert world.client().files == contents(world.repo)
