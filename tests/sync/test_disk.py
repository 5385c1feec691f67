"""A worker whose disk does not take what it must write claims nothing until it does."""

import tempfile
from pathlib import Path

import pytest
from pytest_django import Settings

from syncsvc.models import Operation, Repository, Status, Subscription, SyncRun
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import go_on
from syncsvc.operations.scope import Scope
from syncsvc.sync import disk
from syncsvc.sync.disk import DISK, Disk, write_test
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.poll import poll_repository
from syncsvc.sync.slots import Slots
from tests.factories import AppFactory, SubscriptionFactory
from tests.keys import private_key
from tests.sync.world import World


@pytest.fixture
def _tests_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "TEST_SECONDS", 0.0)


@pytest.fixture
def _no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose folders for temporary files were all full when the worker began."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])


@pytest.mark.usefixtures("_tests_often")
def test_it_is_well_until_a_run_met_trouble_and_again_when_writing_succeeds(settings: Settings, tmp_path: Path) -> None:
    settings.MIRROR_DIR = tmp_path / "mirrors"
    own = Disk()
    assert own.is_well()
    (tmp_path / "mirrors").write_text("a file stands where the folder should be")

    own.failed("No space left on device")
    assert (own.is_well(), own.is_well()) == (False, False)
    assert str(tmp_path / "mirrors") in own.trouble

    (tmp_path / "mirrors").unlink()
    assert own.is_well()
    assert own.trouble == ""


@pytest.mark.parametrize("name", ["MIRROR_DIR", "SPOOL_DIR"])
def test_the_test_names_the_folder_and_leaves_nothing(settings: Settings, tmp_path: Path, name: str) -> None:
    settings.MIRROR_DIR, settings.SPOOL_DIR = tmp_path / "mirrors", str(tmp_path / "spool")
    assert write_test() == ""
    assert [*(tmp_path / "mirrors").iterdir(), *(tmp_path / "spool").iterdir()] == []

    blocked = tmp_path / "blocked"
    blocked.write_text("")
    setattr(settings, name, blocked / "below")

    assert str(blocked / "below") in write_test()


@pytest.mark.usefixtures("_no_temporary_folder")
def test_where_no_temporary_file_can_be_made_the_test_says_so(settings: Settings, tmp_path: Path) -> None:
    settings.MIRROR_DIR = tmp_path / "mirrors"
    assert "temporary files" in write_test()


@pytest.mark.parametrize("in_bulk", [True, False])
def test_a_worker_that_cannot_write_does_not_eat_the_queue(
    world: World, settings: Settings, tmp_path: Path, in_bulk: bool
) -> None:
    """A slot that took the next run, and an item that it had just handed back, failed without an end."""
    world.repo.commit({"a": b"1"})
    ids = [world.id] + [
        SubscriptionFactory(app=AppFactory(url=world.receiver.url), repository=world.repository).id for _ in range(3)
    ]
    (tmp_path / "file").write_text("in the way")
    settings.MIRROR_DIR = tmp_path / "file" / "mirrors"
    slots = Slots()
    if in_bulk:
        Subscription.objects.update(status=Status.FAILED, due_at=None)
        asker = Asker(name="a test", source=Operation.Source.COMMAND)
        operation = bulk.start(Scope(kind=Operation.Kind.RETRY), asker)
        slots.run_released(worker="test", settled=go_on)
        operation.refresh_from_db()
        assert (operation.waiting, operation.failed) == (4, 0)
    else:
        slots._left.set()  # as where others found no place
        slots.run(ids[0], worker="test", settled=go_on)
    assert [run.error_kind for run in SyncRun.objects.all()] == ["worker_disk"]
    assert DISK.trouble

    settings.MIRROR_DIR = tmp_path / "mirrors"
    DISK.__init__()  # type: ignore[misc]
    slots.run_released(worker="test", settled=go_on) if in_bulk else slots.run(ids[1], worker="test", settled=go_on)
    assert SyncRun.objects.filter(outcome="synced").count() >= 3


def test_a_folder_for_plans_that_is_missing_is_the_workers_trouble(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    world.repo.commit({f"{number}": b"1" for number in range(201)})
    settings.SPOOL_DIR = str(tmp_path / "gone")
    run = world.run()
    assert (run.error_kind, run.requests) == ("worker_disk", 0)
    assert settings.SPOOL_DIR in run.error
    assert DISK.trouble


@pytest.mark.usefixtures("_no_temporary_folder")
def test_a_key_that_cannot_be_put_down_is_the_workers_trouble_for_a_run_and_for_a_poll(world: World) -> None:
    repository = world.repository
    repository.url, repository.ssh_key, repository.known_hosts = "git@127.0.0.1:a/b", private_key(), "h"
    repository.save()
    Subscription.objects.update(error_kind="")
    assert poll_repository(repository.id)
    assert "temporary files" in DISK.trouble
    assert (Repository.objects.get().failure_streak, Repository.objects.get().error_kind) == (0, "")
    DISK.__init__()  # type: ignore[misc]
    run = run_subscription(world.id, worker="test")
    assert run is not None
    assert run.error_kind == "worker_disk"
    assert "temporary files" in DISK.trouble
