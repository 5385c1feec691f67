"""What counts as an id, wherever somebody types one."""

import ast
import uuid
from pathlib import Path

import pytest

from syncsvc.ids import uuid_of

PACKAGE = Path(__file__).resolve().parent.parent / "syncsvc"
ID = uuid.UUID("0c5f2a4e-6d1b-4f0e-9a57-0d5c1c3c6b0e")


@pytest.mark.parametrize("text", [str(ID), str(ID).upper(), ID.hex, f" {ID}\n", f"{{{ID}}}", ID.urn])
def test_an_id_is_read_in_each_of_its_spellings(text: str) -> None:
    assert uuid_of(text) == ID


@pytest.mark.parametrize("text", ["", "acme", str(ID)[:-1], f"{ID}0", f"{ID} {ID}", "\x00", "g" * 32])
def test_other_text_is_no_id(text: str) -> None:
    assert uuid_of(text) is None


def parses_an_id(node: ast.AST) -> bool:
    """`try: … UUID(…) … except ValueError`."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)] if isinstance(node, ast.Try) else []
    return any("UUID" in (getattr(call.func, "attr", ""), getattr(call.func, "id", "")) for call in calls)


def test_ids_that_people_type_are_parsed_in_one_place() -> None:
    """What we wrote ourselves, a task's argument or a digest's scope, is no such text."""
    ours = {"ids.py", "operations/scope.py"}
    files = {
        str(file.relative_to(PACKAGE)): ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")
    }
    assert {name for name, tree in files.items() if any(map(parses_an_id, ast.walk(tree)))} == ours
