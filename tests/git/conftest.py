from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from syncsvc.git.route import git_egress
from tests.git.servers import GitHttpServer
from tests.gitrepo import GitRepo

# Servers of tests are on this machine, at ports of their own.
LOCAL = git_egress(["127.0.0.0/8", "::1/128"], ["*"])
LIMITS = GitLimits(timeout=30, ls_remote_timeout=10, allow_local=True, egress=LOCAL)


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
