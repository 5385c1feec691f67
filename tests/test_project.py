"""The project polices itself: what exists is documented, and what is documented exists."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from syncsvc.api.schemas import Conditions
from syncsvc.error_kinds import POLICIES
from syncsvc.management.app_profile import flag_of
from syncsvc.management.bulk import SELECTORS
from syncsvc.operations.apps import PROFILE_NAMES
from syncsvc.operations.conditions import CONDITION_NAMES
from syncsvc.operations.scope import Scope
from syncsvc.types import ErrorKind

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Said where the folder itself is chosen, before the settings are read.
NOT_FROM_ENV = {"DATA_DIR"}


def test_every_setting_is_in_the_table_and_the_table_has_no_other() -> None:
    from config.settings import env

    documented = re.findall(r"^\| `([A-Z0-9_]+)` \|", CONFIGURATION, flags=re.MULTILINE)
    assert sorted(documented) == sorted({*env.names, *NOT_FROM_ENV})


NO_SETTINGS = {"NAME", "NAME_FILE", "SSL_CERT_FILE"}


def test_the_page_about_security_names_settings_commands_and_places_that_exist() -> None:
    from config.settings import env

    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([A-Z][A-Z0-9_]{2,})(?:=\w+)?`", page))
    assert names - NO_SETTINGS <= {*env.names, *NOT_FROM_ENV}
    assert len(names) > 20
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"`make ([a-z]+)`", page)) <= set(targets)
    of_django = {"check"}
    assert set(re.findall(r"`manage\.py ([a-z_]+)", page)) <= {*commands(), *of_django}
    for path in re.findall(r"`((?:scripts|tests)/[\w./-]+)`", page):
        assert (ROOT / path).exists(), path
    for file, anchor in re.findall(r"\]\(([\w./]+\.md)(?:#([\w-]+))?\)", page):
        heading = (ROOT / "docs" / file).read_text(encoding="utf-8").lower()
        assert re.search(rf"^#+ {anchor.replace('-', '[ ,]+')}$", heading, flags=re.MULTILINE) or not anchor, anchor


def commands() -> list[str]:
    folder = ROOT / "syncsvc/management/commands"
    return sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("command", commands())
def test_every_command_has_a_line_of_documentation_and_a_test(command: str) -> None:
    assert f"`{command}" in README, f"README.md does not mention the command {command}"
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert f'"{command}"' in tests, f"no test calls the command {command}"


@pytest.mark.parametrize("column", PROFILE_NAMES)
def test_every_column_of_an_apps_profile_has_a_flag_that_is_documented(column: str) -> None:
    assert f"`{flag_of(column)}`" in README


@pytest.mark.parametrize("condition", CONDITION_NAMES)
def test_every_condition_of_a_bulk_operation_is_offered_by_commands_and_api_and_documented(condition: str) -> None:
    assert condition in Scope.__dataclass_fields__
    assert condition in Conditions.model_fields
    options = {selector.condition: selector.option for selector in SELECTORS}
    assert f"`--{options[condition]}`" in README
    assert f"`{condition}`" in (ROOT / "docs/api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_kind_is_documented_and_produced_by_a_test(kind: ErrorKind) -> None:
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert f"`{kind}`" in architecture
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert kind.name in tests or f'"{kind}"' in tests


@pytest.mark.parametrize("kind", [kind for kind, policy in POLICIES.items() if policy.statuses])
def test_every_kind_that_a_status_leads_to_is_told_to_receivers(kind: ErrorKind) -> None:
    assert f"| `{kind}` |" in (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")


RECIPES = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"\b(?:syncsvc|tests|config|docs|screenshots)/[\w/.]+\w", RECIPES))


@pytest.mark.parametrize("path", sorted(path for path in NAMED if "NAME" not in path))
def test_what_the_recipes_name_exists(path: str) -> None:
    assert (ROOT / path).exists()


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


# Imports at the top show which way data flows; a late one, or one for the type checker alone, hides a circle.
FREE_OF_CIRCLES = ("models", "store", "statistics", "sync", "operations")


def hidden_imports(source: str) -> list[int]:
    """Lines of a module that import anywhere but at its top level, or look at TYPE_CHECKING."""
    tree = ast.parse(source)
    late = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) and node not in tree.body]
    checked = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"]
    return [node.lineno for node in (*late, *checked)]


def test_hidden_imports_are_found() -> None:
    assert hidden_imports("import a\n\ndef f():\n    import b\n") == [4]
    assert hidden_imports("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b\n") == [3, 2]


def test_no_import_is_hidden_where_data_flows() -> None:
    files = [file for folder in FREE_OF_CIRCLES for file in (ROOT / "syncsvc" / folder).rglob("*.py")]
    hidden = {str(file): lines for file in files if (lines := hidden_imports(file.read_text(encoding="utf-8")))}
    assert len(files) > len(FREE_OF_CIRCLES)
    assert hidden == {}


def test_templates_have_no_inline_script_style_or_handler() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=", re.IGNORECASE)
    found = [file for file in (ROOT / "templates").rglob("*.html") if inline.search(file.read_text(encoding="utf-8"))]
    assert found == []


def test_the_audit_says_what_it_can_do() -> None:
    done = subprocess.run([ROOT / "scripts/audit"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: scripts/audit sbom|vulnerabilities\n")
