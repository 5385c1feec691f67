from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver_program.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    program.start()
    yield program
    if program.process.poll() is None:
        program.stop()
