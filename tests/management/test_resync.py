"""resync: everything again, of one or of many, with the files and bytes that it sends."""

from collections.abc import Callable

from pytest_django import Settings

from syncsvc.models import Operation, Snapshot, Status, Subscription, Trigger
from tests.factories import SnapshotFactory, SubscriptionFactory
from tests.management.conftest import Run
from tests.management.working import workers
from tests.receiver import Receiver


def test_one_that_is_named_is_queued_at_once(run: Run) -> None:
    subscription = SubscriptionFactory.create(app__name="client", repository__name="owner/repo", synced=True)

    done = run("resync", "client/owner/repo", "--json")

    assert done.code == 0
    assert done.json == {
        "queued": True,
        "app_id": str(subscription.app_id),
        "repository_id": str(subscription.repository_id),
        "note": None,
    }
    subscription.refresh_from_db()
    assert (subscription.status, subscription.trigger, subscription.epoch) == (Status.PENDING, Trigger.RESYNC, 2)
    assert run("resync", subscription.id, "--json").refusal == "conflict"


def test_the_preview_says_how_many_files_and_bytes(run: Run) -> None:
    snapshot = SnapshotFactory.create(files=4512, bytes=31_000_000)
    for _ in range(2):
        SubscriptionFactory.create(
            app__name=f"client-{_}", repository=snapshot.repository, synced=True, snapshot=snapshot
        )

    done = run("resync", "--all", "--dry-run", "--json")

    shown = done.json
    assert (shown["total"], shown["files"], shown["bytes"]) == (2, 9024, 62_000_000)
    assert set(shown) == {"total", "by_app", "by_error", "skipped", "files", "bytes", "digest"}
    in_words = run("resync", "--app=client-0", "--dry-run").out
    assert in_words.startswith("Re-sync of 1 subscription: 4,512 files (31 MB) are sent again\n")


def test_many_files_need_the_count_typed_and_more_files_another_preview(run: Run, settings: Settings) -> None:
    settings.BULK_CONFIRM_OVER_FILES = 10
    snapshot = SnapshotFactory.create(files=11)
    SubscriptionFactory.create(app__name="client", repository=snapshot.repository, synced=True, snapshot=snapshot)
    assert run("resync", "--app=client", "--yes", "--json").refusal == "confirm"
    digest = run("resync", "--app=client", "--dry-run", "--json").json["digest"]
    Snapshot.objects.update(files=20)
    assert run("resync", "--digest", digest, "--yes-count=1", "--json").refusal == "conflict"
    Snapshot.objects.update(files=12)
    assert run("resync", "--digest", digest, "--yes-count=1", "--json").json["total_count"] == 1


def test_everything_of_an_app_is_sent_again(
    run: Run, failing: Callable[..., list[Subscription]], hooks: Receiver
) -> None:
    failing(2)
    failing(1, app="other")
    with workers():
        assert run("retry", "--all", "--yes", "--wait", "--timeout=60").code == 0
        sent = len(hooks.requests)
        done = run("resync", "--app=client", "--yes", "--wait", "--timeout=60", "--json")
    assert (done.code, done.json["kind"], done.json["succeeded"], done.json["files"]) == (0, "resync", 2, 4)
    assert len(hooks.requests) - sent == 4
    assert Operation.objects.filter(kind="resync").get().asked_by.startswith("command resync (")
