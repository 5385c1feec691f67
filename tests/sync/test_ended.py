"""A run ends within seconds in whatever stage it is told to: git that never ends, an endpoint that never answers."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import (
    App,
    DeliveryAttempt,
    Operation,
    RemoteHost,
    Repository,
    Status,
    Subscription,
    SyncRun,
    Trigger,
)
from syncsvc.operations.apps import save_app
from syncsvc.operations.asker import Asker
from syncsvc.operations.repositories import save_repository
from syncsvc.stopping import STOPPING
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.circuit import GONE
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.poll import poll_repository
from syncsvc.sync.watch import WATCHER
from tests.factories import SubscriptionFactory
from tests.receiver import OK, Receiver, Reply
from tests.sync.answers import always
from tests.sync.world import World

ASKER = Asker(name="a test", source=Operation.Source.COMMAND)


@pytest.fixture(autouse=True)
def _short_silence(settings: Settings) -> Iterator[None]:
    settings.GIT_TIMEOUT = settings.GIT_LS_REMOTE_TIMEOUT = 1  # of silence, of which this git has none
    yield
    STOPPING.clear()


class Git:
    """Stands before git. One of its calls does not go on, but shows signs of life, until `go`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch
        self._started, self._going_on = folder / "started", folder / "going-on"
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    def hangs_in(self, call: str, meanwhile: Callable[[], Any], *, then: str = "") -> None:
        """`meanwhile` is called while it hangs; `then` are the shell's words for what comes after `go`."""
        file, real = self._folder / "git", shutil.which("git")
        wait = f"touch {self._started}; until [ -e {self._going_on} ]; do echo alive >&2; sleep 0.02; done; {then}"
        file.write_text(f'#!/bin/sh\ncase "$1" in {call}) {wait};; esac\nexec {real} "$@"\n')
        file.chmod(0o755)
        self._monkeypatch.setenv("PATH", f"{self._folder}:{os.environ['PATH']}")

        def run() -> None:
            while not self._started.exists():
                if self._ended.wait(0.01):
                    return
            meanwhile()
            WATCHER.look()
            connection.close()

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def go(self) -> None:
        self._going_on.touch()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert self._started.exists() or not self._threads, "git was never called so"


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Git]:
    folder = tmp_path / "before-git"
    folder.mkdir()
    git = Git(folder, monkeypatch)
    yield git
    git.end()


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def run(world: World) -> SyncRun | None:
    ask_for_runs(Subscription.objects.filter(id=world.id), Trigger.SYNC)
    return run_subscription(world.id, worker="test")


def stop() -> None:
    Subscription.objects.filter(status=Status.SYNCING).request_stop()


CHANGES: dict[str, Callable[[], Any]] = {
    "stop": stop,
    "pause the app": lambda: App.objects.update(is_active=False),
    "pause the repository": lambda: Repository.objects.update(is_active=False),
    "pause the subscription": lambda: Subscription.objects.update(is_active=False),
    "another remote": lambda: Repository.objects.update(url="/nowhere"),
    "another branch": lambda: Repository.objects.update(branch="other"),
    "delete": lambda: Subscription.objects.all().delete(),
    "the process stops": STOPPING.set,
}
STAGES = ("ls-remote", "fetch", "rev-parse", "diff-tree", "cat-file")


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        *(("ls-remote", change) for change in CHANGES),
        *((stage, name) for stage in STAGES[1:] for name in ("stop", "delete")),
    ],
)
def test_git_that_never_ends_is_ended(world: World, git: Git, stage: str, change: str) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    world.repo.commit({"b": b"1"})
    git.hangs_in(stage, CHANGES[change])
    sent = len(world.receiver.requests)

    ended = run(world)

    assert len(world.receiver.requests) == sent
    if change == "stop":
        assert ended is not None
        assert ended.outcome == "stopped"
        assert world.subscription.due_at is not None
    elif change == "delete":
        assert ended is None
        assert not SyncRun.objects.exists()
    else:
        assert ended is None, "it had sent nothing"
        row = world.subscription
        assert (row.status, row.error_kind, row.retry_count) == (Status.PENDING, "", 0)
        assert Subscription.objects.filter(due_at__lte=Now()).exists()
    assert Repository.objects.get().failure_streak == 0


@pytest.mark.parametrize("change", ["pause the repository", "another remote", "the process stops"])
def test_a_poll_of_a_silent_remote_is_ended_too(world: World, git: Git, change: str) -> None:
    git.hangs_in("ls-remote", CHANGES[change] if change != "another remote" else lambda: move_remote(world))

    assert Repository.objects.request_check(world.repository.id)

    assert poll_repository(world.repository.id)

    repository = Repository.objects.get()
    assert (repository.failure_streak, repository.lease_token) == (0, None)
    assert repository.queued_at or change == "another remote", "somebody still waits for it"
    assert Repository.objects.filter(due_at__lte=Now()).exists(), "it is polled as soon as it can be"


def test_a_probe_of_a_host_that_is_broken_off_is_free_for_others(world: World, git: Git) -> None:
    now = timezone.now()
    taken: list[datetime | None] = []
    Repository.objects.update(url="https://127.0.0.1/a.git", due_at=now)
    RemoteHost.objects.create(name="127.0.0.1", failing_since=now, circuit_until=now)

    def pause() -> None:
        taken.append(RemoteHost.objects.get().probe_until)
        Repository.objects.update(is_active=False)

    git.hangs_in("ls-remote", pause)

    assert poll_repository(world.repository.id)

    assert taken != [None]
    assert RemoteHost.objects.get().probe_until is None


def move_remote(world: World) -> None:
    repository = Repository.objects.get()
    repository.url = "/nowhere"
    save_repository(repository, ASKER, changed={"url"})


def test_who_waited_for_the_fetch_of_a_stopped_run_fetches_at_once(world: World, git: Git) -> None:
    world.repo.commit({"a": b"1"})
    later = timezone.now() + timedelta(hours=1)
    other = SubscriptionFactory(repository=world.repository, awaits_fetch=True, due_at=later)
    git.hangs_in("fetch", stop)

    run(world)

    assert Subscription.objects.filter(id=other.id, awaits_fetch=False, due_at__lte=Now()).exists()


def after(change: Callable[[], object], reply: Reply) -> Callable[[dict[str, str], bytes], Reply]:
    """Answers each request with the reply, once the run has looked at the change."""

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        change()
        WATCHER.look()
        connection.close()
        return reply

    return answer


@pytest.mark.parametrize("files", [{"a": b"1"}, {"a": b"1", "b": b"2", "c": b"3"}, {"big": b"x" * 3000}])
@pytest.mark.parametrize(("change", "outcome"), [("stop", "stopped"), ("pause the app", "interrupted")])
def test_an_endpoint_that_never_answers_is_not_waited_for(
    world: World, settings: Settings, files: dict[str, bytes], change: str, outcome: str
) -> None:
    """A file, a batch, a part: what is on its way is aborted, stays in doubt, and is in the log of attempts."""
    settings.STOP_SECONDS = 0.2
    settings.CONTENT_CHUNK_BYTES = 1024
    App.objects.update(max_batch=10)
    world.repo.commit(files)

    world.receiver.answer = after(CHANGES[change], (204, {}, b"", 30.0))

    ended = run(world)

    assert ended is not None
    assert (ended.outcome, ended.delivered, ended.requests) == (outcome, 0, 1)
    assert all(row.in_doubt for row in world.ledger().values())
    attempt = DeliveryAttempt.objects.get()
    assert (attempt.status, attempt.error_kind) == (None, "endpoint_timeout")
    assert "did not wait" in attempt.error


def test_a_stopped_run_is_not_retried_whatever_it_met(world: World) -> None:
    world.repo.commit({"a": b"1"})

    world.receiver.answer = after(stop, (422, {}, b"", 0.0))

    ended = run(world)

    assert ended is not None
    assert ended.outcome == "stopped"
    assert not Subscription.objects.filter(due_at__lte=Now()).exists()


def test_what_was_changed_during_the_plan_holds_from_the_first_request_on(
    world: World, git: Git, elsewhere: Receiver
) -> None:
    world.repo.commit({"a": b"1"})
    world.run()
    world.repo.commit({"b": b"1"})
    sent = len(world.receiver.requests)

    def meanwhile() -> None:
        App.objects.update(url=elsewhere.url)
        WATCHER.look()
        git.go()

    git.hangs_in("diff-tree", meanwhile)

    ended = run(world)

    assert ended is not None
    assert (ended.outcome, len(world.receiver.requests) - sent, len(elsewhere.requests)) == ("synced", 0, 1)


def move_app(url: str) -> None:
    app = App.objects.get()
    app.url = url
    save_app(app, ASKER, changed={"url"})


@pytest.mark.parametrize("answer", [(410, {}), (422, {}), (429, {"Retry-After": "600"}), (503, {"Retry-After": "600"})])
def test_a_refusal_by_the_url_before_says_nothing_of_the_new_one(
    world: World, elsewhere: Receiver, answer: tuple[int, dict[str, str]]
) -> None:
    """It arrives when the app has moved and the run has not seen that yet."""
    world.repo.commit({"a": b"1"})

    def refuse(headers: dict[str, str], body: bytes) -> Reply:
        move_app(elsewhere.url)
        connection.close()
        return *answer, b"", 0.0

    world.receiver.answer = refuse

    run(world)

    app = App.objects.get()
    assert (app.is_active, app.throttled_until, app.failure_streak) == (True, None, 0)
    row = world.subscription
    assert (row.error_kind, row.failing_since) == ("", None)
    if row.status != Status.SYNCED:
        assert Subscription.objects.filter(due_at__lte=Now()).exists()
        ended = run_subscription(world.id, worker="test")
        assert ended is not None
        assert ended.outcome == "synced"
    assert len(elsewhere.requests) == 1


def test_a_url_that_is_gone_pauses_the_app_also_where_it_was_changed_during_the_run(
    world: World, elsewhere: Receiver
) -> None:
    App.objects.update(max_in_flight=1)
    world.repo.commit({"a": b"1", "b": b"1"})

    world.receiver.answer = after(lambda: move_app(elsewhere.url), OK)
    elsewhere.answer = always(410)

    ended = run(world)

    assert ended is not None
    assert (ended.error_kind, App.objects.get().pause_reason) == ("endpoint_gone", GONE)


def test_a_refusal_of_the_credential_before_says_nothing_of_the_new_one(world: World, git: Git) -> None:
    world.repo.commit({"a": b"1"})
    world.run()

    def meanwhile() -> None:
        repository = Repository.objects.get()
        repository.username = "other"
        save_repository(repository, ASKER, changed={"username"})
        git.go()

    git.hangs_in("ls-remote", meanwhile, then="""echo "fatal: Authentication failed for ''" >&2; exit 128""")

    assert run(world) is None

    repository, row = Repository.objects.get(), world.subscription
    assert (repository.failure_streak, repository.error_kind) == (0, "")
    assert (row.status, row.error_kind) == (Status.PENDING, "")
    assert Subscription.objects.filter(due_at__lte=Now()).exists()


def test_where_the_remote_before_stood_is_not_taken_for_where_the_new_one_stands(world: World, git: Git) -> None:
    world.repo.commit({"a": b"1"})

    def meanwhile() -> None:
        repository = Repository.objects.get()
        repository.branch = "main"
        save_repository(repository, ASKER, changed={"branch"})
        git.go()

    git.hangs_in("ls-remote", meanwhile)

    poll_repository(world.repository.id)

    assert Repository.objects.get().head_commit == ""
