"""Runs and polls against ordinary remotes and an ordinary disk: what the rows say, and what is left alone."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from syncsvc.git.eviction import sizes
from syncsvc.models import App, Repository, Snapshot, Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.poll import poll_repository
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.git.servers import GitHttpServer, odd_server
from tests.git.test_branch_names import head_on
from tests.gitrepo import GitRepo
from tests.sync.world import World, contents


def test_a_folder_for_mirrors_that_cannot_be_written_is_the_workers_failure(
    world: World, settings: Any, tmp_path: Path
) -> None:
    world.repo.commit({"a": b"1"})
    (tmp_path / "file").write_text("in the way")
    settings.MIRROR_DIR = tmp_path / "file" / "mirrors"
    run = world.run()
    assert (run.outcome, run.error_kind, run.requests) == ("postponed", "worker_disk", 0)
    assert str(settings.MIRROR_DIR) in run.error
    repository = Repository.objects.get()
    assert (repository.failure_streak, repository.error_kind) == (0, ""), "the remote has done nothing wrong"

    settings.MIRROR_DIR = tmp_path / "mirrors"
    assert world.run().outcome == "synced"


def test_a_full_folder_for_keys_is_no_failure_of_the_remote(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Repository.objects.update(url="git@127.0.0.1:a/b", known_hosts="h")
    repository = Repository.objects.get()
    repository.ssh_key = "a key"
    repository.save()
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    run = world.run()
    assert run.error_kind == "worker_disk"
    assert Repository.objects.get().failure_streak == 0


@pytest.mark.parametrize("asked", [True, False])
def test_a_forge_that_limits_is_left_alone_for_as_long_as_it_asks(world: World, asked: bool) -> None:
    with odd_server(status=429, headers={"Retry-After": "900"}) as base:
        Repository.objects.update(url=f"{base}/a.git")
        if asked:
            run = world.run()
            assert (run.outcome, run.error_kind) == ("postponed", "git_unreachable")
            row = world.subscription
            assert row.retry_count == 0, "waiting as asked uses up no try"
        else:
            assert poll_repository(world.repository.id)
            row = Repository.objects.get()  # type: ignore[assignment]
    assert row.due_at is not None
    assert row.due_at > timezone.now() + timedelta(seconds=890)


def test_an_absurd_wait_is_cut(world: World, settings: Any) -> None:
    settings.RETRY_AFTER_MAX_SECONDS = settings.GIT_CIRCUIT_COOLDOWN_SECONDS = 100
    with odd_server(status=503, headers={"Retry-After": "999999999"}) as base:
        Repository.objects.update(url=f"{base}/a.git")
        world.run()
        Repository.objects.update(due_at=Now())
        assert poll_repository(world.repository.id)
    for row in (world.subscription, Repository.objects.get()):
        assert row.due_at < timezone.now() + timedelta(seconds=200)


@pytest.mark.parametrize("body", [b"", b"<html>Log in</html>"])
@pytest.mark.parametrize("branch", ["", "main"])
def test_an_answer_that_is_none_is_never_synced(world: World, body: bytes, branch: str) -> None:
    with odd_server(body, headers={"Content-Type": "text/html"}) as base:
        Repository.objects.update(url=f"{base}/a.git", branch=branch)
        run = world.run()
    assert (run.outcome, run.error_kind) == ("failed", "git_not_found")
    assert not Snapshot.objects.exists()


def test_a_branch_named_head_is_sent_and_settles(world: World) -> None:
    """It once gave main's files, and a run at each poll without end."""
    world.repo.commit({"a": b"main's"})
    world.repo.git("update-ref", "refs/heads/HEAD", world.repo.commit({"a": b"its own"}, branch="other"))
    world.repo.git("symbolic-ref", "HEAD", "refs/heads/HEAD")
    assert world.run().outcome == "synced"
    assert world.client().files == contents(world.repo, "refs/heads/HEAD")
    requests = len(world.receiver.requests)
    assert b'"branch":"HEAD"' in world.receiver.requests[0].body.replace(b": ", b":")
    for _ in range(3):
        Repository.objects.update(due_at=Now())
        assert poll_repository(world.repository.id)
        assert world.subscription.status == "synced"
    assert len(world.receiver.requests) == requests


def test_a_head_on_no_branch_is_sent_as_head_and_settles(world: World) -> None:
    first = world.repo.commit({"a": b"1"})
    world.repo.commit({"a": b"2"})
    world.repo.git("update-ref", "--no-deref", "HEAD", first)
    assert world.run().outcome == "synced"
    repository = Repository.objects.get()
    assert (repository.head_branch, repository.head_commit) == ("", first)
    assert b'"branch":"HEAD"' in world.receiver.requests[0].body.replace(b": ", b":")
    Repository.objects.update(due_at=Now())
    assert poll_repository(world.repository.id)
    assert world.subscription.status == "synced"


def test_a_damaged_remote_is_told_and_the_mirror_is_left_alone(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    mirror = Path(configured.MIRROR_DIR) / str(world.repository.id)
    before = (mirror / "HEAD").stat().st_ino
    world.repo.commit({"b": b"2"})
    blob = world.repo.ls_tree()[b"b"].sha
    (world.repo.path / "objects" / blob[:2] / blob[2:]).unlink(missing_ok=True)
    for pack in world.repo.path.glob("objects/pack/*"):
        pack.unlink()
    run = world.run()
    assert run.outcome == "postponed"
    assert run.error_kind in {"git_corrupt", "git_unreachable"}
    assert "there" in run.error
    assert (mirror / "HEAD").stat().st_ino == before


def test_a_tree_that_git_would_not_write_sends_nothing_and_rebuilds_nothing(world: World) -> None:
    blob = world.repo.blob(b"1")
    entry = b"100644 a\0" + bytes.fromhex(blob)
    tree = world.repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=entry * 2)
    world.repo.commit_tree(tree.decode().strip())
    server = GitHttpServer(world.repo.path.parent)
    try:
        Repository.objects.update(url=server.url(world.repo.path.name))
        run = world.run()
        assert (run.error_kind, run.requests) == ("git_corrupt", 0)
        assert server.discoveries == 2  # one to ask, one to fetch
    finally:
        server.close()


def test_the_growth_of_mirrors_counts_and_the_least_used_go(world: World, settings: Any, tmp_path: Path) -> None:
    noise = random.Random(11)
    world.repo.commit({"a": noise.randbytes(300_000)})
    world.run()
    other = RepositoryFactory(url=str(GitRepo(tmp_path / "other.git").path))
    GitRepo(tmp_path / "other.git").commit({"a": b"1"})
    second = SubscriptionFactory(app=App.objects.get(), repository=other)
    settings.MIRROR_MAX_BYTES = 2 * sum(sizes(Path(configured.MIRROR_DIR)).values())
    for size in (100, 900_000):  # a new mirror, and one that grows
        GitRepo(tmp_path / "other.git").commit({"b": noise.randbytes(size)})
        ask_for_runs(Subscription.objects.filter(id=second.id), Trigger.SYNC, asked_by="a test")
        run = run_subscription(second.id, worker="test")
        assert run is not None
        assert run.outcome == "synced"
    assert list(sizes(Path(configured.MIRROR_DIR))) == [str(other.id)]


def test_a_credential_that_no_key_reads_is_the_runs_failure_and_said(world: World) -> None:
    """It once ended the task before the run: no run had it on record, and each claim met it again."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncsvc_repository SET token = 'x'::bytea")
    run = world.run()
    assert (run.outcome, run.error_kind) == ("postponed", "internal")
    assert "ENCRYPTION_KEYS" in run.error
    assert world.subscription.due_at is not None


def test_a_remote_inside_fails_at_once_with_the_name_of_the_setting(world: World, settings: Any) -> None:
    world.repo.commit({"a": b"1"})
    server = GitHttpServer(world.repo.path.parent)
    try:
        settings.GIT_ALLOWED_NETWORKS = ["127.0.0.2/32"]
        Repository.objects.update(url=server.url(world.repo.path.name).replace("127.0.0.1", "localhost"))
        run = world.run()
        assert (run.outcome, run.error_kind) == ("failed", "git_forbidden_address")
        assert "localhost leads to an address that is not public" in run.error
        assert "GIT_ALLOWED_NETWORKS" in run.error
        assert "127.0.0.1" not in run.error
        assert not server.seen_authorizations
        settings.GIT_ALLOWED_NETWORKS, settings.GIT_ALLOWED_PORTS = ["127.0.0.0/8"], ["80"]
        run = world.run()
        assert (run.outcome, run.error_kind) == ("failed", "git_forbidden_address")
        assert "GIT_ALLOWED_PORTS" in run.error
        settings.GIT_ALLOWED_PORTS = ["*"]
        assert world.run().outcome == "synced"
    finally:
        server.close()


@pytest.mark.parametrize("name", [b"n" * 251, b"n" * 5_000, b"a\x1b[31m", b"caf\xe9", b"a..b"])
def test_a_head_whose_name_cannot_be_stored_is_an_error_on_the_repository(world: World, name: bytes) -> None:
    world.repo.commit({"a": b"1"})
    with head_on(name) as url:
        Repository.objects.update(url=url, due_at=Now())
        poll_repository(world.repository.id)
    repository = Repository.objects.get()
    assert repository.error_kind == "git_not_found"
    assert "cannot be followed" in repository.last_error
    assert "set this repository's branch to another" in repository.last_error
    assert "\x1b" not in repository.last_error
