"""The project polices itself: what exists is documented, and what is documented exists."""

import re
from pathlib import Path

import pytest

from syncsvc.types import ErrorKind

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Said where the folder itself is chosen, before the settings are read.
NOT_FROM_ENV = {"DATA_DIR"}


def test_every_setting_is_in_the_table_and_the_table_has_no_other() -> None:
    from config.settings import env

    documented = re.findall(r"^\| `([A-Z_]+)` \|", CONFIGURATION, flags=re.MULTILINE)
    assert sorted(documented) == sorted({*env.names, *NOT_FROM_ENV})


def commands() -> list[str]:
    folder = ROOT / "syncsvc/management/commands"
    return sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("command", commands())
def test_every_command_has_a_line_of_documentation_and_a_test(command: str) -> None:
    assert f"`{command}" in README, f"README.md does not mention the command {command}"
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert f'"{command}"' in tests, f"no test calls the command {command}"


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_kind_is_documented_and_produced_by_a_test(kind: ErrorKind) -> None:
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert f"`{kind}`" in architecture
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert kind.name in tests or f'"{kind}"' in tests


def test_requirements_have_hashes_and_name_no_index() -> None:
    for file in ROOT.glob("requirements*.txt"):
        text = file.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index" not in text


def test_no_file_is_longer_than_it_should_be() -> None:
    long = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / "syncsvc").rglob("*.py")}
    long = {file: lines for file, lines in long.items() if lines > 400 and "migrations" not in file.parts}
    assert long == {}


def test_templates_have_no_inline_script_style_or_handler() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=", re.IGNORECASE)
    found = [file for file in (ROOT / "templates").rglob("*.html") if inline.search(file.read_text(encoding="utf-8"))]
    assert found == []
