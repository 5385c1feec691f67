"""Runs of repositories that exceed a limit: the kind, the words, and what is left on the disk."""

from pathlib import Path
from typing import Any

from syncsvc.models import Repository
from tests.git.servers import GitHttpServer
from tests.sync.world import World


def test_a_repository_over_a_limit_fails_at_once_with_the_limit_s_name(
    world: World, settings: Any, tmp_path: Path
) -> None:
    settings.GIT_FULL_FETCH_MAX_BYTES = 1
    world.repo.commit({"a": b"1"})
    server = GitHttpServer(tmp_path)
    server.shallow = False
    try:
        Repository.objects.update(url=server.url("remote.git"))
        run = world.run()
    finally:
        server.close()
    assert (run.outcome, run.error_kind) == ("failed", "repository_too_large")
    assert "over the limit of 1 (GIT_FULL_FETCH_MAX_BYTES). Raise GIT_FULL_FETCH_MAX_BYTES, or" in run.error
    assert Repository.objects.get().error_kind == "repository_too_large"
