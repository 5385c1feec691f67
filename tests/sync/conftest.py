"""Fixtures; what imports models is imported late, since pytest reads this before Django is set up."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.receiver import Receiver

if TYPE_CHECKING:
    from tests.sync.world import World


@pytest.fixture
def world(transactional_db: None, tmp_path: Path) -> "Iterator[World]":
    from tests.sync.world import World

    with Receiver() as receiver:
        yield World(tmp_path, receiver)


@pytest.fixture(autouse=True)
def _disk_is_well() -> Iterator[None]:
    """Trouble that a test made for this process's disk is not the next test's."""
    yield
    from syncsvc.sync.disk import DISK

    DISK.__init__()  # type: ignore[misc]
