"""retry: one subscription at once, many as an operation, each with its preview, refusals and exit codes."""

import uuid
from collections.abc import Callable

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from pytest_django import Settings
from redis import Redis

from syncsvc.models import Operation, Status, Subscription, SyncRun, Trigger
from syncsvc.sync.health import WORKERS_KEY, worker_seen
from tests.factories import SnapshotFactory, SubscriptionFactory, deeds
from tests.management.conftest import Run
from tests.management.working import Terminal, pressing_ctrl_c, workers
from tests.receiver import Receiver

type Failing = Callable[..., list[Subscription]]


def test_one_that_is_named_is_queued_at_once(run: Run) -> None:
    subscription = SubscriptionFactory.create(app__name="client", repository__name="owner/repo", failed=True)

    done = run("retry", "client/owner/repo", "--json")

    assert done.code == 0
    assert done.json == {
        "queued": True,
        "app_id": str(subscription.app_id),
        "repository_id": str(subscription.repository_id),
        "note": None,
    }
    subscription.refresh_from_db()
    assert (subscription.status, subscription.retry_count, subscription.trigger) == (Status.PENDING, 0, Trigger.RETRY)
    assert subscription.asked_by.startswith("command retry (")
    assert run("retry", subscription.id, "--json").refusal == "conflict"
    assert not Operation.objects.exists()


def test_in_words_it_says_whom_it_probes(run: Run) -> None:
    values = {"app__circuit_opened_at": "2026-01-01T00:00:00Z", "app__circuit_until": "2100-01-01T00:00:00Z"}
    SubscriptionFactory.create(app__name="client", repository__name="owner/repo", failed=True, **values)
    done = run("retry", "client/owner/repo")
    expected = "Retry queued for client/owner/repo\nThe endpoint's circuit is open; a retry probes it now.\n"
    assert (done.code, done.out) == (0, expected)


def test_the_selectors_must_all_agree(run: Run) -> None:
    mine = SubscriptionFactory.create(app__name="client", repository__name="owner/repo", failed=True)
    SubscriptionFactory.create(app=mine.app, failed=True, error_kind="git_auth")
    SubscriptionFactory.create(repository=mine.repository, failed=True)
    SubscriptionFactory.create(app=mine.app, synced=True)

    def total(*selectors: str) -> int:
        return int(run("retry", *selectors, "--dry-run", "--json").json["total"])

    assert total("--all") == 3
    assert total("--app=client") == total("--repository=owner/repo") == 2
    assert total("--app=client", "--repository=owner/repo") == 1
    assert total("--app=client", "--error=git_auth") == 1
    assert total("--repository=owner/repo", "--error=git_auth") == 0
    assert run("retry", "client/owner/repo", "--error=git_auth", "--json").refusal == "not_found"


def test_a_dry_run_shows_what_would_be_done_and_does_nothing(run: Run) -> None:
    snapshot = SnapshotFactory.create()
    one = SubscriptionFactory.create(app__name="client", failed=True, snapshot=snapshot)
    SubscriptionFactory.create(app=one.app, failed=True, error_kind="git_auth")
    SubscriptionFactory.create(app=one.app, failed=True, is_active=False)

    done = run("retry", "--all", "--dry-run", "--json")

    digest = done.json["digest"]
    assert done.json == {
        "total": 2,
        "by_app": {"client": 2},
        "by_error": {"endpoint_error": 1, "git_auth": 1},
        "skipped": {"the subscription is paused": 1},
        "files": 0,
        "bytes": 0,
        "digest": digest,
    }
    in_words = run("retry", "--all", "--dry-run")
    assert in_words.code == 0
    assert in_words.out.startswith(
        "Retry of 2 subscriptions\n  by app: 2 client\n  by error: 1 endpoint_error, 1 git_auth\n"
        "  left out: 1 the subscription is paused\n  digest: "
    )
    assert not Operation.objects.exists()


def test_many_are_an_operation_that_waits_for_its_end(run: Run, failing: Failing) -> None:
    failing(3)
    with workers():
        done = run("retry", "--app=client", "--yes", "--wait", "--timeout=60", "--json")
    operation = Operation.objects.get()
    assert done.code == 0
    assert done.json["operation_id"] == str(operation.id)
    assert (done.json["total_count"], done.json["succeeded"], done.json["status"]) == (3, 3, "finished")
    assert done.err == "" or "No worker" in done.err
    assert operation.scope_text == "all failed subscriptions of client"
    assert (operation.source, operation.asked_by.startswith("command retry (")) == ("command", True)


def test_asking_for_many_says_which_operation_it_is(run: Run, failing: Failing) -> None:
    failing(2)
    done = run("retry", "--all", "--yes", "--json")
    operation = Operation.objects.get()
    assert (done.code, done.json) == (0, {"operation_id": str(operation.id), "total_count": 2})
    again = run("retry", "--all", "--yes")
    assert again.out.startswith("Retry queued for 2 subscriptions: ")
    assert "--watch` shows how far it is." in again.out


def test_without_a_terminal_many_need_a_yes(run: Run, failing: Failing) -> None:
    failing(2)
    refused = run("retry", "--all", "--json")
    assert refused.refusal == "confirm"
    assert "add --yes" in refused.json["error"]["message"]
    assert run("retry", "--all").code == 2
    assert run("retry", "--all", "--yes-count=3", "--json").refusal == "confirm"
    assert not Operation.objects.exists()
    assert run("retry", "--all", "--yes-count=2", "--json").json["total_count"] == 2


def test_much_needs_its_count_typed(run: Run, failing: Failing, settings: Settings) -> None:
    settings.BULK_CONFIRM_OVER = 1
    failing(2)
    refused = run("retry", "--all", "--yes", "--json")
    assert refused.refusal == "confirm"
    assert "--yes-count 2" in refused.json["error"]["message"]
    assert run("retry", "--all", "--yes-count=2").code == 0


def test_a_digest_takes_what_was_shown_or_less(run: Run, failing: Failing) -> None:
    first, second = failing(2)
    digest = run("retry", "--all", "--dry-run", "--json").json["digest"]
    Subscription.objects.filter(id=first.id).update(status=Status.SYNCED, due_at=None)
    failing(1, app="later")
    Subscription.objects.filter(app__name="later").update(failed_at="2100-01-01T00:00:00Z")

    done = run("retry", "--digest", digest, "--yes", "--json")

    assert done.json["total_count"] == 1
    assert [item.subscription_id for item in Operation.objects.get().items.all()] == [second.id]


def test_a_digest_of_something_else_is_refused(run: Run, failing: Failing) -> None:
    failing(2)
    digest = run("retry", "--all", "--dry-run", "--json").json["digest"]
    assert run("retry", "--app=client", "--digest", digest, "--yes", "--json").refusal == "usage"
    assert run("resync", "--digest", digest, "--yes", "--json").refusal == "usage"
    assert run("retry", "--digest", "nonsense", "--yes", "--json").refusal == "invalid"
    assert not Operation.objects.exists()


def test_the_same_key_starts_one_operation(run: Run, failing: Failing) -> None:
    failing(2)
    first = run("retry", "--all", "--yes", "--idempotency-key=nightly", "--json")
    assert run("retry", "--all", "--yes", "--idempotency-key=nightly", "--json").json == first.json
    assert run("retry", "client/client/r0", "--idempotency-key=nightly", "--json").refusal == "usage"
    assert Operation.objects.count() == 1


def test_a_key_that_started_something_else_is_refused(run: Run, failing: Failing) -> None:
    failing(2)
    run("retry", "--all", "--yes", "--idempotency-key=nightly", "--json")
    for other in (["resync", "--all"], ["retry", "--app=client"]):
        assert run(*other, "--yes", "--idempotency-key=nightly", "--json").refusal == "conflict"
    assert Operation.objects.count() == 1


def test_how_many_run_at_once_and_when_it_pauses_by_itself_can_be_said(run: Run, failing: Failing) -> None:
    failing(2)
    run("retry", "--all", "--yes", "--max-running=3", "--abort-percent=20", "--json")
    operation = Operation.objects.get()
    assert (operation.max_running, operation.abort_percent) == (3, 20)
    for wrong in ("--max-running=1001", "--abort-percent=101", "--abort-percent=0"):
        assert run("resync", "--all", "--yes", wrong, "--json").refusal == "usage"
    assert run("resync", "client/client/r0", "--abort-percent=20", "--json").refusal == "usage"


def test_what_fails_is_exit_code_1(run: Run, failing: Failing, hooks: Receiver) -> None:
    failing(2)
    hooks.answer = lambda headers, body: (422, {}, b"no", 0.0)
    with workers():
        done = run("retry", "--all", "--yes", "--wait", "--timeout=60")
    assert (done.code, done.out) == (1, "Bulk retry complete: 0 succeeded, 2 failed\n")
    assert "/2 completed" in done.err  # at most a line a second, where there is no terminal


def test_waiting_for_one_is_waiting_for_its_run(run: Run, failing: Failing, hooks: Receiver) -> None:
    failing(1)
    with workers():
        done = run("retry", "client/client/r0", "--wait", "--timeout=60", "--json")
        assert (done.code, done.json["queued"], done.json["run"]["outcome"]) == (0, True, "synced")
        Subscription.objects.update(status=Status.FAILED, due_at=None, clean_snapshot=None, epoch=2)
        hooks.answer = lambda headers, body: (422, {}, b"no", 0.0)
        done = run("retry", "client/client/r0", "--wait", "--timeout=60")
    assert done.code == 1
    assert done.out.startswith("client/client/r0: postponed, 0 of 2 changes delivered")
    assert SyncRun.objects.filter(trigger=Trigger.RETRY).count() == 2


def test_its_time_over_waiting_leaves_it_running(run: Run, failing: Failing) -> None:
    failing(2)
    done = run("retry", "--all", "--yes", "--wait", "--timeout=1")
    assert (done.code, "goes on without this command" in done.err) == (1, True)
    assert done.out == "Bulk retry running: 0/2 completed, 0 succeeded, 0 failed\n"
    assert run("retry", "client/client/r0", "--timeout=1", "--json").refusal == "usage"


def test_ctrl_c_without_a_terminal_leaves_it_running(run: Run, failing: Failing) -> None:
    failing(2)
    with pressing_ctrl_c(after=1):
        done = run("retry", "--all", "--yes", "--wait")
    assert (done.code, Operation.objects.get().status) == (1, "running")
    assert "goes on without this command" in done.err


def test_ctrl_c_at_a_terminal_asks_and_cancels(run: Run, failing: Failing) -> None:
    failing(2)
    with Terminal() as terminal, pressing_ctrl_c(after=1):
        terminal.type("c", after=2)
        done = run("retry", "--all", "--yes", "--wait")
    assert (done.code, done.out) == (1, "Bulk retry cancelled: 0 succeeded, 0 failed, 2 cancelled\n")
    assert "[------------------------] 0/2 completed" in terminal.seen
    assert "Type c to cancel" in terminal.seen
    assert set(Subscription.objects.values_list("status", flat=True)) == {"failed"}


def test_ctrl_c_at_a_terminal_asks_and_leaves_it_running(run: Run, failing: Failing) -> None:
    failing(2)
    with Terminal() as terminal, pressing_ctrl_c(after=1):
        terminal.type("", after=2)
        done = run("retry", "--all", "--yes", "--wait")
    assert (done.code, Operation.objects.get().status) == (1, "running")


def test_a_terminal_is_asked_whether_it_is_meant(run: Run, failing: Failing) -> None:
    failing(2)
    with Terminal() as terminal:
        terminal.type("n", after=1)
        assert run("retry", "--all").code == 2
    assert "Nothing was done." in terminal.seen
    assert not Operation.objects.exists()
    with Terminal() as terminal:
        terminal.type("y", after=1)
        assert run("retry", "--all").code == 0
    assert "Retry of 2 subscriptions" in terminal.seen
    assert Operation.objects.get().total == 2


def test_much_must_be_typed_at_a_terminal(run: Run, failing: Failing, settings: Settings) -> None:
    settings.BULK_CONFIRM_OVER = 1
    failing(2)
    for typed, code in (("y", 2), ("2", 0)):
        with Terminal() as terminal:
            terminal.type(typed, after=1)
            assert run("retry", "--all").code == code


def test_a_user_of_the_console_can_be_named(run: Run, failing: Failing) -> None:
    failing(2)
    user = User.objects.create_user("alice")
    assert run("retry", "--all", "--yes", "--as=nobody", "--json").refusal == "not_found"
    assert run("retry", "--all", "--yes", "--as=alice").code == 0
    operation = Operation.objects.get()
    assert (operation.user, operation.asked_by) == (user, "command retry (alice)")
    entry = deeds().get()
    assert (entry.user_id, entry.object_id) == (user.pk, str(operation.id))


def test_it_says_that_no_worker_has_been_seen(run: Run, failing: Failing) -> None:
    failing(2)
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.delete(WORKERS_KEY)
    assert "No worker has been seen for a minute" in run("retry", "client/client/r0").err
    worker_seen("one")
    assert run("retry", "client/client/r1").err == ""


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((), "usage"),
        (("--all", "--error=nonsense"), "usage"),
        (("client/nothing",), "not_found"),
        (("--app=nobody",), "not_found"),
        ((str(uuid.UUID(int=1)),), "not_found"),
        (("--all", "--yes"), "conflict"),
    ],
)
def test_wrong_usage_is_refused(run: Run, arguments: tuple[str, ...], kind: str) -> None:
    assert run("retry", *arguments, "--json").refusal == kind


def test_a_paused_one_is_refused_with_its_reason(run: Run) -> None:
    paused = SubscriptionFactory.create(failed=True, is_active=False)
    refused = run("retry", paused.id, "--json")
    assert refused.refusal == "paused"
    assert "Resume it first" in refused.json["error"]["message"]
