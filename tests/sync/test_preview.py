"""What would be sent now, as a worker finds it: the plan of a run that nobody makes."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.cache import cache
from pytest_django import Settings
from redis import Redis

from syncsvc.exceptions import Refused
from syncsvc.models import DeliveredFile, Snapshot, SyncRun
from syncsvc.stopping import STOPPING
from syncsvc.sync.preview import PAGE, SyncPreview, _keep, ask_for_preview, known_preview, make_preview, previewed
from syncsvc.tasks import preview_changes
from tests.git.servers import silent_server
from tests.sync.answers import refuses
from tests.sync.world import World


def preview(world: World) -> SyncPreview:
    ask_for_preview(world.subscription)
    preview_changes(str(world.id))
    found = known_preview(world.id)
    assert found is not None
    return found


def listed(world: World, page: int = 1) -> list[tuple[str, str]]:
    return [(change.kind.value, change.path.decode()) for change in previewed(world.id, page)]


def test_a_preview_is_what_the_next_run_sends_and_sends_nothing(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    world.run()
    commit = world.repo.commit({"a": b"2", "b": None, "c": b"123"})
    before, runs, snapshots = len(world.receiver.requests), SyncRun.objects.count(), Snapshot.objects.count()

    found = preview(world)

    assert (found.state, found.commit, found.total, found.bytes) == ("ready", commit, 3, 4)
    assert listed(world) == [("deleted", "b"), ("created", "c"), ("updated", "a")]
    assert (len(world.receiver.requests), SyncRun.objects.count()) == (before, runs)
    assert (Snapshot.objects.count(), world.subscription.status) == (snapshots, "synced")
    world.run()
    assert [path for _, path in world.told(before)] == ["b", "c", "a"]
    assert preview(world).total == 0


def test_a_first_preview_and_one_of_a_ledger_with_doubts_look_at_every_row(world: World) -> None:
    world.repo.commit({"a": b"1", "b": b"1"})
    assert listed(world) == []
    assert preview(world).counts == {"deleted": 0, "created": 2, "updated": 0}
    world.receiver.answer = refuses("b")
    world.run()
    marks = list(DeliveredFile.objects.values_list("path", "doubt_id"))

    preview(world)

    assert listed(world) == [("created", "b")]
    assert list(DeliveredFile.objects.values_list("path", "doubt_id")) == marks


def test_a_long_preview_comes_in_pages_and_one_that_would_be_held_says_so(world: World) -> None:
    world.repo.commit({f"{n:03}": b"1" for n in range(PAGE + 10)})
    assert preview(world).total == PAGE + 10
    assert (len(previewed(world.id, 1)), len(previewed(world.id, 2)), previewed(world.id, 3)) == (PAGE, 10, [])
    world.run()
    world.repo.commit({}, replace_all=True)

    assert preview(world).is_held


def test_what_git_says_against_it_is_told(world: World) -> None:
    assert preview(world).error == "The remote has no commit."
    type(world.repository).objects.update(url="/nowhere/at/all.git")

    found = preview(world)

    assert found.state == "failed"
    assert "git_not_found" in found.error
    make_preview(uuid.uuid4())  # of one that was deleted meanwhile


def test_one_whose_remote_says_nothing_ends_with_its_worker(world: World, settings: Settings) -> None:
    settings.GIT_LS_REMOTE_TIMEOUT = 20
    STOPPING.set()
    try:
        with silent_server() as port:
            type(world.repository).objects.update(url=f"http://127.0.0.1:{port}/a.git")
            make_preview(world.id)
    finally:
        STOPPING.clear()
    found = known_preview(world.id)
    assert found is not None
    assert "was stopped" in found.error


def test_who_asks_for_one_that_is_on_its_way_joins_it_until_it_is_late(world: World, settings: Settings) -> None:
    redis = Redis.from_url(settings.REDIS_URL)
    redis.delete("live.0")

    ask_for_preview(world.subscription)
    ask_for_preview(world.subscription)

    waiting = known_preview(world.id)
    assert waiting is not None
    assert (redis.llen("live.0"), waiting.state, waiting.is_coming, waiting.is_late) == (1, "asked", True, False)
    late = replace(waiting, asked_at=waiting.asked_at - timedelta(seconds=16))
    _keep(world.id, late)
    assert late.is_late
    ask_for_preview(world.subscription)
    assert redis.llen("live.0") == 2


def test_without_redis_it_is_refused_at_once(world: World, settings: Settings) -> None:
    away = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "default": away}
    cache.close()

    with pytest.raises(Refused, match="Redis does not answer"):
        ask_for_preview(world.subscription)
