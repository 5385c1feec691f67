"""Polling: one `ls-remote` however many apps follow, and nothing written where nothing is new."""

import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.poll import poll_repository
from tests.factories import AppFactory, SubscriptionFactory
from tests.git.servers import GitHttpServer, silent_server
from tests.sync.world import World


@pytest.fixture
def server(world: World) -> Iterator[GitHttpServer]:
    """The world's remote behind HTTP, where each `ls-remote` and each fetch is one discovery."""
    server = GitHttpServer(world.repo.path.parent)
    Repository.objects.update(url=server.url(world.repo.path.name))
    yield server
    server.close()


def poll(world: World) -> bool:
    Repository.objects.update(due_at=Now())
    return poll_repository(world.repository.id)


def repository() -> Repository:
    return Repository.objects.get()


def follower(world: World, **values: Any) -> uuid.UUID:
    id: uuid.UUID = SubscriptionFactory(
        app=AppFactory(url=world.receiver.url), repository=world.repository, **values
    ).id
    return id


def run(id: uuid.UUID) -> SyncRun:
    ended = run_subscription(id, worker="test")
    assert ended is not None
    return ended


def test_a_poll_that_finds_nothing_writes_when_it_looked_and_nothing_else(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    poll(world)
    row = Repository.objects.values().get()
    subscription = Subscription.objects.values().get()
    Repository.objects.update(due_at=Now())

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert poll_repository(world.repository.id)

    assert [query["sql"].split()[0] for query in queries] == ["UPDATE", "SELECT", "UPDATE"]
    after = Repository.objects.values().get()
    changed = {name for name in row if row[name] != after[name]}
    assert changed == {"checked_at", "due_at"}
    assert Subscription.objects.values().get() == subscription
    assert SyncRun.objects.count() == 1


def test_the_next_poll_is_due_after_the_interval_spread_a_little(world: World) -> None:
    world.repo.commit({"a": b"1"})
    Repository.objects.update(poll_seconds=1000)
    delays = []
    for _ in range(6):
        poll(world)
        delays.append((repository().due_at - timezone.now()).total_seconds())

    assert all(899 <= delay <= 1100 for delay in delays)
    assert len({round(delay) for delay in delays}) > 2


def test_a_poll_that_is_not_due_or_paused_does_not_happen(world: World) -> None:
    assert poll(world)
    assert not poll_repository(world.repository.id)
    Repository.objects.update(is_active=False)
    assert not poll(world)


def test_two_polls_at_once_are_one(world: World) -> None:
    Repository.objects.update(due_at=Now())
    assert Repository.objects.claim(world.repository.id, token=uuid.uuid4())

    assert not poll_repository(world.repository.id)
    Repository.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    assert poll_repository(world.repository.id)


def test_a_moved_head_asks_for_a_run_of_every_subscription_and_none_asks_the_remote_again(
    world: World, server: GitHttpServer
) -> None:
    world.repo.commit({"a": b"1"})
    other = follower(world)
    world.run()
    ask_for_runs(Subscription.objects.filter(id=other), Trigger.SYNC)
    run(other)
    assert poll(world)
    commit = world.repo.commit({"a": b"2"})
    before = server.discoveries

    assert poll(world)

    assert server.discoveries - before == 1
    assert set(Subscription.objects.values_list("status", "trigger")) == {("pending", "poll")}
    assert all(row.queued_at for row in Subscription.objects.all())
    assert (run(world.id).to_commit, run(other).to_commit) == (commit, commit)
    # One ls-remote by the poll, one fetch by the first run: each begins with one discovery.
    assert server.discoveries - before == 2


def test_a_polled_run_needs_no_remote_at_all_once_the_commit_is_here(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    other = follower(world)
    Subscription.objects.filter(id=other).update(trigger=Trigger.POLL)
    poll(world)
    world.repo.path.rename(world.repo.path.with_name("away"))

    assert run(other).outcome == "synced"


def test_a_run_that_was_asked_for_checks_afresh_and_a_moved_head_asks_for_the_others_too(world: World) -> None:
    world.repo.commit({"a": b"1"})
    poll(world)
    other = follower(world)
    world.run()
    Subscription.objects.update(status="synced", due_at=None, queued_at=None)
    commit = world.repo.commit({"a": b"2"})

    assert world.run().to_commit == commit

    row = Subscription.objects.get(id=other)
    assert (row.status, row.trigger) == ("pending", "poll")
    assert world.subscription.status == Status.SYNCED
    assert repository().head_commit == commit


def test_a_commit_that_lands_between_poll_and_fetch_is_taken_and_told_to_all(world: World) -> None:
    world.repo.commit({"a": b"1"})
    other = follower(world)
    poll(world)
    newest = world.repo.commit({"a": b"2"})

    assert run(world.id).to_commit == newest

    assert repository().head_commit == newest
    assert run(other).to_commit == newest


def test_one_failing_poll_is_no_news_and_the_third_lets_the_subscriptions_meet_the_error(
    world: World, settings: Settings
) -> None:
    settings.CIRCUIT_THRESHOLD = 10
    world.repo.commit({"a": b"1"})
    world.run()
    world.repo.path.rename(world.repo.path.with_name("away"))
    Repository.objects.update(url="git://127.0.0.1:1/none")
    for _ in range(2):
        assert poll(world)
        assert world.subscription.status == Status.SYNCED

    assert poll(world)

    assert repository().failure_streak == 3
    assert world.subscription.status == Status.PENDING
    ended = run(world.id)
    assert (ended.outcome, ended.error_kind) == ("postponed", "git_unreachable")
    assert (repository().error_kind, bool(repository().last_error)) == ("git_unreachable", True)
    checked = repository().checked_at
    poll(world)
    assert repository().checked_at == checked


def test_later_polls_tell_the_subscriptions_that_have_not_met_the_error_and_hurry_no_other(
    world: World, settings: Settings
) -> None:
    settings.CIRCUIT_THRESHOLD = 10
    later = timezone.now() + timedelta(minutes=10)
    waits = follower(world, due_at=later, error_kind="git_unreachable")
    synced = follower(world, synced=True)
    Repository.objects.update(url="git://127.0.0.1:1/none", failure_streak=4)

    poll(world)

    assert Subscription.objects.get(id=waits).due_at == later
    assert Subscription.objects.get(id=synced).status == Status.PENDING


def test_a_permanent_failure_is_news_at_once(world: World) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    Repository.objects.update(branch="nowhere")

    poll(world)

    assert world.subscription.status == Status.PENDING
    assert run(world.id).error_kind == "git_not_found"


def test_five_failures_in_a_row_open_the_remotes_circuit_for_a_time_that_doubles(world: World) -> None:
    Repository.objects.update(url="git://127.0.0.1:1/none")
    for _ in range(4):
        poll(world)
    assert repository().circuit_until is None

    for cooldown in (30, 60, 120):
        poll(world)
        row = repository()
        assert row.circuit_until is not None
        assert cooldown - 5 < (row.circuit_until - timezone.now()).total_seconds() <= cooldown
        assert row.due_at >= row.circuit_until
        Repository.objects.update(circuit_until=Now())


def test_a_failure_of_somebody_who_did_not_wait_lengthens_no_cool_down(world: World) -> None:
    Repository.objects.update(
        url="git://127.0.0.1:1/none", circuit_until=Now() + timedelta(seconds=20), failure_streak=5, circuit_openings=1
    )
    before = repository().circuit_until

    world.run()

    assert (repository().circuit_until, repository().circuit_openings) == (before, 1)


def test_a_new_streak_begins_with_the_plain_cool_down(world: World) -> None:
    world.repo.commit({"a": b"1"})
    Repository.objects.update(failure_streak=9, circuit_openings=6, circuit_until=Now(), error_kind="git_timeout")
    assert poll(world)
    assert (repository().failure_streak, repository().circuit_openings) == (0, 0)


def test_cool_downs_end_at_their_longest(world: World, settings: Settings) -> None:
    Repository.objects.update(url="git://127.0.0.1:1/none", failure_streak=50, circuit_openings=40, circuit_until=Now())

    poll(world)

    row = repository()
    assert row.circuit_until is not None
    remaining = (row.circuit_until - timezone.now()).total_seconds()
    assert 1795 < remaining <= settings.GIT_CIRCUIT_COOLDOWN_MAX_SECONDS


def test_a_remote_that_is_back_is_polled_within_seconds(world: World) -> None:
    world.repo.commit({"a": b"1"})
    later = timezone.now() + timedelta(minutes=20)
    Repository.objects.update(circuit_until=later, due_at=later, failure_streak=5, error_kind="git_timeout")

    world.run()

    assert repository().due_at < timezone.now() + timedelta(seconds=6)


def test_runs_that_nobody_asked_for_leave_a_remote_alone_whose_circuit_is_open_and_use_up_no_try(
    world: World, server: GitHttpServer
) -> None:
    Repository.objects.update(
        circuit_until=Now() + timedelta(minutes=20),
        failure_streak=5,
        failing_since=Now(),
        error_kind="git_unreachable",
        last_error="x",
    )
    Subscription.objects.update(trigger=Trigger.POLL)

    ended = run(world.id)

    assert (ended.outcome, ended.error_kind, server.discoveries) == ("postponed", "git_unreachable", 0)
    assert "left alone for 20 min" in ended.error
    subscription = world.subscription
    assert subscription.retry_count == 0
    assert subscription.due_at is not None
    assert timedelta(minutes=19) < subscription.due_at - timezone.now() < timedelta(minutes=23)


def test_after_an_hour_of_an_unreachable_remote_what_waits_is_failed(world: World) -> None:
    Repository.objects.update(
        circuit_until=Now() + timedelta(minutes=20),
        failure_streak=5,
        failing_since=Now() - timedelta(hours=1),
        error_kind="git_unreachable",
    )
    Subscription.objects.update(trigger=Trigger.POLL)

    assert run(world.id).outcome == "failed"


def test_a_run_that_was_asked_for_asks_the_remote_all_the_same_and_its_answer_ends_the_streak(world: World) -> None:
    world.repo.commit({"a": b"1"})
    failed = follower(world, failed=True)
    Subscription.objects.filter(id=failed).update(error_kind="git_unreachable")
    endpoint = follower(world, failed=True)
    Repository.objects.update(
        circuit_until=Now() + timedelta(minutes=20), failure_streak=5, error_kind="git_timeout", last_error="x"
    )

    assert world.run().outcome == "synced"

    row = repository()
    assert (row.circuit_until, row.failure_streak, row.error_kind, row.last_error) == (None, 0, "", "")
    assert Subscription.objects.get(id=endpoint).error_kind == "endpoint_error"


def test_a_remote_that_is_back_asks_for_the_runs_that_failed_for_it_and_no_others(world: World) -> None:
    world.repo.commit({"a": b"1"})
    poll(world)
    git, endpoint = follower(world, failed=True), follower(world, failed=True)
    Subscription.objects.filter(id=git).update(error_kind="git_unreachable")
    Subscription.objects.filter(id=world.id).update(status="synced", due_at=None)
    Repository.objects.update(failure_streak=4, error_kind="git_unreachable")

    poll(world)

    statuses = dict(Subscription.objects.values_list("id", "status"))
    assert statuses == {git: "pending", endpoint: "failed", world.id: "synced"}
    assert repository().failing_since is None


def test_a_remote_that_needs_a_login_is_told_apart(world: World, tmp_path: Path) -> None:
    world.repo.commit({"a": b"1"})
    server = GitHttpServer(world.repo.path.parent, username="u", token="right")
    Repository.objects.update(url=server.url(world.repo.path.name), username="u")
    row = repository()
    row.token = "wrong"
    row.save()

    ended = world.run()
    server.close()

    assert (ended.outcome, ended.error_kind) == ("failed", "git_auth")
    assert "wrong" not in ended.error


def test_a_remote_that_takes_too_long_is_told_apart(world: World, settings: Settings) -> None:
    settings.GIT_LS_REMOTE_TIMEOUT = 0.5
    with silent_server() as port:
        Repository.objects.update(url=f"http://127.0.0.1:{port}/repo.git")
        ended = world.run()

    assert (ended.outcome, ended.error_kind) == ("postponed", "git_timeout")


def test_a_repository_is_known_as_of_the_moment_at_which_it_was_asked_not_at_which_it_answered(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.repo.commit({"a": b"1"})
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *upload-pack*) sleep 1;; esac\nexec {shutil.which("git")} "$@"\n')
    slow.chmod(0o700)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")

    assert poll(world)

    assert Repository.objects.filter(checked_at__lt=Now() - timedelta(seconds=0.9)).exists()
