"""Files that are left out by a setting: as good as not there, counted, and looked at again when the setting changes."""

from typing import Any

import pytest

from syncsvc.models import Snapshot
from syncsvc.sync.preview import ask_for_preview, known_preview, make_preview
from tests.factories import AppFactory, SubscriptionFactory
from tests.gitrepo import Submodule
from tests.sync.world import World

SMALL, LARGE = b"1", b"1" * 11


@pytest.fixture(autouse=True)
def _limit(settings: Any) -> None:
    settings.MAX_FILE_BYTES = 10


def held(world: World) -> set[bytes]:
    assert set(world.ledger()) == set(world.client().files)
    return set(world.client().files)


def previewed(world: World) -> dict[str, int]:
    ask_for_preview(world.subscription)
    make_preview(world.id)
    found = known_preview(world.id)
    assert found is not None
    assert found.state == "ready", found.error
    return found.counts


def test_a_file_over_the_limit_is_left_out_counted_and_fails_nothing(world: World) -> None:
    world.repo.commit({"a": b"1" * 10, "b": LARGE, "lib": Submodule("1" * 40)})
    run = world.run()
    snapshot = Snapshot.objects.get()
    assert (run.outcome, run.created, snapshot.files, snapshot.bytes) == ("synced", 1, 1, 10)
    assert (snapshot.large_files, snapshot.left_out_text) == (1, "1 submodule, 1 large file")
    assert held(world) == {b"a"}


def test_a_file_that_grows_beyond_the_limit_is_deleted_and_comes_back_as_created(world: World) -> None:
    world.repo.commit({"a": SMALL, "b": SMALL})
    world.run()
    before = len(world.receiver.requests)
    for content in (LARGE, LARGE + b"1", SMALL):
        world.repo.commit({"a": content})
        world.run()
    assert world.told(before) == [("file.deleted", "a"), ("file.created", "a")]
    assert [(s.large_files, s.files, s.bytes) for s in Snapshot.objects.order_by("id")] == [
        (0, 2, 2), (1, 1, 1), (1, 1, 1), (0, 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("moves", [False, True], ids=["the same commit", "another commit"])
def test_another_limit_has_the_next_run_look_at_every_file(world: World, settings: Any, moves: bool) -> None:
    world.repo.commit({"a": SMALL, "b": LARGE, "c": b"1" * 20})
    world.run()
    other = SubscriptionFactory(app=AppFactory(url=world.receiver.url), repository=world.repository).id
    steps = [(0, b"abc"), (15, b"ab"), (9, b"a"), (20, b"abc")]
    for number, (limit, names) in enumerate(steps):
        files = {b"%c" % name for name in names}
        settings.MAX_FILE_BYTES = limit
        if moves:
            world.repo.commit({"a": b"%d" % number})
        assert sum(previewed(world).values()) > 0
        run = world.run()
        assert (run.outcome, held(world)) == ("synced", files)
        snapshot = Snapshot.objects.order_by("-id")[0]
        assert (snapshot.files, snapshot.large_files) == (len(files), 3 - len(files))
        before = len(world.receiver.requests)
        assert (world.run().outcome, len(world.receiver.requests)) == ("synced", before)
    assert Snapshot.objects.count() == (5 if moves else 1)
    world.id, mine = other, world.id
    world.run()
    assert set(world.ledger()) == files
    assert world.id != mine


def test_a_limit_of_all_files_does_not_read_a_clean_ledger_again(world: World, settings: Any) -> None:
    """What was clean before there was such a setting stays clean where nothing is left out."""
    settings.MAX_FILE_BYTES = 0
    world.repo.commit({"a": SMALL})
    world.run()
    assert (world.subscription.clean_selection, Snapshot.objects.get().selection) == ("", "")


@pytest.mark.parametrize("unsafe", [b"../x", b".GIT/config", b"x/.g\xe2\x80\x8cit"])
def test_unsafe_paths_are_flagged_and_sent_or_left_out(world: World, settings: Any, unsafe: bytes) -> None:
    commit_with(world, unsafe)
    world.run()
    snapshot = Snapshot.objects.get()
    assert (snapshot.unsafe_paths, [bytes(p) for p in snapshot.unsafe_examples]) == (1, [unsafe])
    assert (snapshot.files, snapshot.unsafe_left_out, snapshot.left_out_text) == (2, False, "")
    assert held(world) == {b"a", unsafe}

    settings.UNSAFE_PATHS = "leave_out"
    assert previewed(world)["deleted"] == 1
    run = world.run()
    snapshot.refresh_from_db()
    assert (run.deleted, snapshot.files, snapshot.left_out_text) == (1, 1, "1 unsafe path")
    assert held(world) == {b"a"}

    settings.UNSAFE_PATHS = "send"
    assert world.run().created == 1
    assert held(world) == {b"a", unsafe}


def test_unsafe_paths_come_and_go_with_differences(world: World) -> None:
    world.repo.commit({"a": SMALL})
    world.run()
    commit_with(world, b"../x", b"../y")
    world.run()
    commit_with(world, b"../y")
    world.run()
    counts = [(s.unsafe_paths, [bytes(p) for p in s.unsafe_examples]) for s in Snapshot.objects.order_by("id")]
    assert counts == [(0, []), (2, [b"../x", b"../y"]), (1, [b"../y"])]


def test_a_snapshot_whose_unsafe_paths_were_not_counted_is_no_base_for_the_next(world: World) -> None:
    commit_with(world, b"../x")
    world.run()
    Snapshot.objects.update(unsafe_paths=None, unsafe_examples=[])
    world.repo.commit({"a": b"2"}, replace_all=True)
    world.run()
    newest = Snapshot.objects.order_by("-id")[0]
    assert (newest.unsafe_paths, newest.deleted, newest.files) == (0, 1, 1)


def commit_with(world: World, *paths: bytes) -> None:
    """With the file `a` and these, which no command of git writes."""
    blob = world.repo.blob(SMALL)

    def tree(paths: list[bytes]) -> str:
        entries = []
        for first in sorted({path.partition(b"/")[0] for path in paths}):
            below = [path.partition(b"/")[2] for path in paths if path.startswith(first + b"/")]
            entries.append(("040000", tree(below), first) if below else ("100644", blob, first))
        return world.repo.mktree(entries)

    world.repo.commit_tree(tree([b"a", *paths]))
