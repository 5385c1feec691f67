"""Commands as a shell runs them: their exit code, and what they write where."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import load_command_class

from tests.gitrepo import GitRepo
from tests.receiver import Receiver

if TYPE_CHECKING:
    from syncsvc.models import Subscription


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


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    """Where the apps of `failing` have their webhooks."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def failing(transactional_db: None, tmp_path: Path, hooks: Receiver) -> "Callable[..., list[Subscription]]":
    """Makes failed subscriptions of one app, each of a repository of its own, all with the same two files."""
    from syncsvc.models import App  # not before Django is set up
    from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory

    remote = GitRepo(tmp_path / "remote")
    remote.commit({"a.md": b"a\n", "b.md": b"b\n"})

    def make(count: int, *, app: str = "client", **values: Any) -> "list[Subscription]":
        owner = App.objects.filter(name=app).first() or AppFactory.create(name=app, url=hooks.url)
        repositories = [RepositoryFactory.create(name=f"{app}/r{n}", url=str(remote.path)) for n in range(count)]
        return [SubscriptionFactory.create(app=owner, repository=r, failed=True, **values) for r in repositories]

    return make
