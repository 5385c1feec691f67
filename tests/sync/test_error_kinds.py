"""Every error kind is produced for real by some test of this folder."""

from pathlib import Path

import pytest

from syncsvc.types import ErrorKind

TESTS = [file.read_text() for file in Path(__file__).parent.glob("test_*.py") if file != Path(__file__)]


@pytest.mark.parametrize("kind", ErrorKind)
def test_each_kind_is_what_some_run_here_ends_with(kind: ErrorKind) -> None:
    asserts = [line for text in TESTS for line in text.splitlines() if f'"{kind.value}"' in line]

    assert any("assert" in line or line.lstrip().startswith("(") for line in asserts)
