"""sync: asking, waiting, and running here, with real git and a real receiver."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from syncsvc.models import Status, Subscription, SyncRun, Trigger
from syncsvc.stopping import STOPPING
from syncsvc.store.claim import claim
from syncsvc.sync.pipeline import run_subscription
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory, SyncRunFactory
from tests.gitrepo import GitRepo
from tests.management.conftest import Run
from tests.receiver import Receiver, accept

FIELDS = {
    *("subscription", "status", "outcome", "commit", "created", "updated", "deleted", "delivered", "failed", "bytes"),
    *("seconds", "error_kind", "error", "paused"),
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "remote")
    repo.commit({f"docs/{number}.md": b"text %d\n" % number for number in range(30)})
    return repo


@pytest.fixture
def subscription(transactional_db: None, repo: GitRepo, receiver: Receiver) -> Subscription:
    app = AppFactory.create(name="client", url=receiver.url)
    repository = RepositoryFactory.create(name="owner/repo", url=str(repo.path))
    return SubscriptionFactory.create(app=app, repository=repository)


@pytest.fixture
def worker(subscription: Subscription) -> Iterator[None]:
    """Runs what is due in a thread, as a worker would."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            run_subscription(subscription.id, worker="worker")
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    thread.join(30)


@contextmanager
def pressing_ctrl_c(*, after: float) -> Iterator[None]:
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_asking_leaves_the_runs_to_the_workers(run: Run, subscription: Subscription) -> None:
    done = run("sync", "client/owner/repo", "--json")
    assert done.code == 0
    assert done.json == {
        "runs": [
            {
                "subscription": "client/owner/repo",
                "status": "pending",
                "paused": False,
                "outcome": None,
                "commit": None,
                "created": 0,
                "updated": 0,
                "deleted": 0,
                "delivered": 0,
                "failed": 0,
                "bytes": 0,
                "seconds": None,
                "error_kind": None,
                "error": None,
            }
        ]
    }
    subscription.refresh_from_db()
    assert (subscription.trigger, subscription.asked_by) == (Trigger.SYNC, "sync")
    assert run("sync", subscription.id).out == "client/owner/repo: asked for, pending\n"


def test_inline_delivers_everything_without_a_worker(
    run: Run, subscription: Subscription, repo: GitRepo, receiver: Receiver
) -> None:
    done = run("sync", "--app=client", "--inline", "--json")
    (row,) = done.json["runs"]
    assert done.code == 0
    assert set(row) == FIELDS
    assert (row["status"], row["outcome"], row["commit"]) == ("synced", "synced", repo.head)
    assert (row["created"], row["delivered"], row["failed"], row["error_kind"]) == (30, 30, 0, None)
    assert row["bytes"] > 0
    assert row["seconds"] > 0
    assert len(receiver.requests) == 30
    repo.commit({"docs/0.md": b"new\n", "docs/1.md": None})
    again = run("sync", "--all", "--inline")
    assert again.out.startswith(f"client/owner/repo: synced at {repo.head[:12]} in ")
    assert again.out.endswith("2 of 2 changes delivered (1 updated, 1 deleted)\n")


def test_a_failing_run_is_exit_code_1_with_its_reason(run: Run, subscription: Subscription, receiver: Receiver) -> None:
    receiver.answer = lambda headers, body: (422, {}, b"no", 0.0)
    done = run("sync", "--all", "--inline", "--json")
    (row,) = done.json["runs"]
    assert (done.code, row["outcome"], row["error_kind"]) == (1, "postponed", "endpoint_rejected")
    assert row["error"]
    assert row["failed"] == 30
    in_words = run("sync", "--all", "--inline")
    assert in_words.code == 1
    assert "client/owner/repo: postponed, 0 of 30 changes delivered (30 created). endpoint_rejected: " in in_words.out


def test_a_held_mass_delete_goes_out_when_it_is_allowed_and_says_so(
    run: Run, subscription: Subscription, repo: GitRepo
) -> None:
    assert run("sync", "--all", "--inline").code == 0
    repo.commit({"left.md": b"left\n"}, replace_all=True)
    held = run("sync", "--all", "--inline", "--json")
    assert (held.code, held.json["runs"][0]["outcome"]) == (1, "held")
    assert "--allow-deletes" in held.json["runs"][0]["error"]
    allowed = run("sync", "--all", "--inline", "--allow-deletes")
    assert allowed.code == 0
    assert allowed.out.endswith("31 of 31 changes delivered (1 created, 30 deleted); the deletes were allowed\n")


def test_waiting_ends_with_the_run_that_started_after_asking(
    run: Run, subscription: Subscription, worker: None, repo: GitRepo
) -> None:
    assert run("sync", "--all", "--wait", "--timeout=60").code == 0
    commit = repo.commit({"new.md": b"new\n"})
    done = run("sync", "client/owner/repo", "--wait", "--timeout=60", "--json")
    (row,) = done.json["runs"]
    assert (done.code, row["outcome"], row["commit"], row["created"]) == (0, "synced", commit, 1)


def test_waiting_passes_over_runs_before_and_runs_that_were_interrupted(run: Run) -> None:
    subscription = SubscriptionFactory.create()
    SyncRunFactory.create(subscription=subscription)

    def later() -> None:
        time.sleep(0.5)
        SyncRunFactory.create(subscription=subscription, outcome="interrupted")
        time.sleep(0.5)
        SyncRunFactory.create(subscription=subscription, outcome="failed", error_kind="git_timeout", error="too slow")
        connection.close()

    thread = threading.Thread(target=later)
    thread.start()
    done = run("sync", "--all", "--wait", "--timeout=30", "--json")
    thread.join()
    assert (done.code, done.json["runs"][0]["outcome"], done.json["runs"][0]["error"]) == (1, "failed", "too slow")


def test_waiting_gives_up_after_its_time_and_says_that_nobody_works(run: Run) -> None:
    SubscriptionFactory.create(app__name="client", repository__name="owner/repo")
    done = run("sync", "--all", "--wait", "--timeout=1")
    assert (done.code, done.out) == (1, "client/owner/repo: asked for, pending\n")
    assert "goes on without this command" in done.err


def test_ctrl_c_ends_the_waiting_and_leaves_the_run(run: Run) -> None:
    SubscriptionFactory.create(app__name="client", repository__name="owner/repo")
    with pressing_ctrl_c(after=1):
        done = run("sync", "--all", "--wait", "--json")
    assert (done.code, done.json["runs"][0]["outcome"], done.json["runs"][0]["status"]) == (1, None, "pending")
    assert Subscription.objects.get().trigger == Trigger.SYNC


def test_ctrl_c_hands_back_a_run_that_goes_on_here(run: Run, subscription: Subscription, receiver: Receiver) -> None:
    receiver.answer = lambda headers, body: (204, {}, b"", 0.5)
    AppFactory._meta.model.objects.update(max_in_flight=1)
    try:
        with pressing_ctrl_c(after=2):
            done = run("sync", "--all", "--inline", "--json")
    finally:
        STOPPING.clear()
    assert (done.code, done.json["runs"][0]["outcome"], done.json["runs"][0]["status"]) == (1, None, "pending")
    sent = len(receiver.requests)
    assert 0 < sent < 30
    assert subscription.delivered_files.filter(blob__isnull=False).count() == sent
    receiver.answer = accept
    assert run("sync", "--all", "--inline").code == 0
    assert len(receiver.requests) == 30


def test_a_subscription_paused_while_it_is_waited_for_is_given_up(run: Run) -> None:
    subscription = SubscriptionFactory.create(app__name="client", repository__name="owner/repo")

    def pause() -> None:
        time.sleep(0.5)
        Subscription.objects.filter(id=subscription.id).update(is_active=False)
        connection.close()

    thread = threading.Thread(target=pause)
    thread.start()
    done = run("sync", "--all", "--wait", "--timeout=30")
    thread.join()
    assert (done.code, done.out) == (1, "client/owner/repo: paused; it runs when it is resumed\n")


def test_a_paused_subscription_is_asked_for_but_not_waited_for(run: Run) -> None:
    SubscriptionFactory.create(app__name="client", repository__name="owner/repo", app__is_active=False, synced=True)
    for option in ("--wait", "--inline"):
        assert run("sync", "client/owner/repo", option, "--json").refusal == "conflict"
        assert Subscription.objects.get().status == Status.SYNCED
    done = run("sync", "--all")
    assert (done.code, done.out) == (0, "client/owner/repo: paused; it runs when it is resumed\n")
    assert Subscription.objects.get().status == Status.PENDING


def test_a_paused_app_does_not_keep_the_others_from_being_synced(run: Run, subscription: Subscription) -> None:
    SubscriptionFactory.create(app__name="gone", app__is_active=False, repository=subscription.repository)
    done = run("sync", "--all", "--inline", "--json")
    outcomes = {row["subscription"]: (row["outcome"], row["paused"]) for row in done.json["runs"]}
    assert outcomes == {
        str(subscription): ("synced", False),
        f"gone/{subscription.repository.name}": (None, True),
    }
    assert done.code == 0


def test_inline_waits_for_a_run_that_goes_on_elsewhere(run: Run, subscription: Subscription) -> None:
    token, run_id = uuid.uuid4(), uuid.uuid4()
    assert claim(subscription.id, token=token, run_id=run_id, worker="elsewhere")

    def hand_back() -> None:
        time.sleep(0.5)
        SyncRun.objects.filter(id=run_id).update(outcome="interrupted", finished_at="2026-01-01T00:00:00Z")
        assert Subscription.objects.hand_back(subscription.id, token=token)
        connection.close()

    thread = threading.Thread(target=hand_back)
    thread.start()
    done = run("sync", "--all", "--inline", "--json")
    thread.join()
    assert (done.code, done.json["runs"][0]["outcome"]) == (0, "synced")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((), "usage"),
        (("--wait", "--inline", "--all"), "usage"),
        (("--all", "--timeout=5"), "usage"),
        (("client/nothing",), "not_found"),
        (("--app=nobody",), "not_found"),
        (("--all", "--repository=nothing"), "not_found"),
    ],
)
def test_wrong_usage_is_refused(run: Run, arguments: tuple[str, ...], kind: str) -> None:
    assert run("sync", *arguments, "--json").refusal == kind


def test_nothing_to_do_is_done(run: Run) -> None:
    assert run("sync", "--all", "--wait", "--json").json == {"runs": []}
