"""A worker whose disk does not take what it must write claims nothing until it does."""

from pathlib import Path

import pytest
from pytest_django import Settings

from syncsvc.sync import disk
from syncsvc.sync.disk import Disk, write_test


@pytest.fixture(autouse=True)
def _tests_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "TEST_SECONDS", 0.0)


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
