"""Commands as a shell runs them: their exit code, and what they write where."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import load_command_class


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one document and nothing else."""
        assert self.out.endswith("}\n")
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The kind of an error document; its exit code must be 2."""
        assert self.code == 2
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"kind", "message"}
        assert self.json["error"]["message"]
        kind: str = self.json["error"]["kind"]
        return kind


type Run = Callable[..., Ran]


@pytest.fixture
def run(transactional_db: None, capfd: pytest.CaptureFixture[str]) -> Run:
    """run("status", "--json") as `manage.py status --json` would be."""

    def run_command(name: str, *arguments: object) -> Ran:
        capfd.readouterr()
        code = 0
        try:
            load_command_class("syncsvc", name).run_from_argv(["manage.py", name, *map(str, arguments)])
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run_command
