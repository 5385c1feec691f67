"""What a run reads ahead: the ids of its changes."""

import uuid

from syncsvc.sync.loading import random_uuids


def test_ids_are_random_uuids_of_version_4() -> None:
    ids = random_uuids(1_000)
    parsed = [uuid.UUID(id) for id in ids]

    assert [str(each) for each in parsed] == ids
    assert {(each.version, each.variant) for each in parsed} == {(4, uuid.RFC_4122)}
    assert len(set(ids)) == 1_000
    assert {id[19] for id in ids} == set("89ab")
    assert random_uuids(0) == []
