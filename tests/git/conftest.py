from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from tests.git.servers import GitHttpServer
from tests.gitrepo import GitRepo

LIMITS = GitLimits(timeout=30, ls_remote_timeout=10, allow_local=True)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "remote" / "repo.git")


@pytest.fixture
def make_mirror(tmp_path: Path, repo: GitRepo) -> Callable[..., Mirror]:
    def make(remote: Remote | None = None, *, limits: GitLimits = LIMITS, name: str = "m.git") -> Mirror:
        return Mirror(tmp_path / "mirrors" / name, remote or Remote(repo.url), limits)

    return make


@pytest.fixture
def http_server(repo: GitRepo) -> Iterator[GitHttpServer]:
    server = GitHttpServer(repo.path.parent)
    yield server
    server.close()


@pytest.fixture
def private_server(repo: GitRepo) -> Iterator[GitHttpServer]:
    server = GitHttpServer(repo.path.parent, username="robot", token="s3cr3t-t0ken")
    yield server
    server.close()
