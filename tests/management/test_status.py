"""status: the document that scripts read, and its cost."""

import time

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis import Redis

from syncsvc.models import App, Repository, Subscription
from syncsvc.sync.health import BEAT_KEY, WORKERS_KEY, beat_seen, worker_seen
from tests.factories import AppFactory, RepositoryFactory, SnapshotFactory, SubscriptionFactory
from tests.management.conftest import Run
from tests.outages import throttle


@pytest.fixture
def three(transactional_db: None) -> list[Subscription]:
    snapshot = SnapshotFactory.create(repository__name="owner/a", commit="c" * 40, files=412)
    app = AppFactory.create(name="client")
    return [
        SubscriptionFactory.create(app=app, repository=snapshot.repository, synced=True, snapshot=snapshot),
        SubscriptionFactory.create(app=app, repository__name="owner/b", failed=True),
        SubscriptionFactory.create(app__name="other", app__is_active=False, repository__name="owner/c"),
    ]


def test_the_document(run: Run, three: list[Subscription]) -> None:
    done = run("status", "--json")
    synced, failed, paused = three
    assert done.code == 0
    assert set(done.json) == {"totals", "subscriptions", "health"}
    assert done.json["totals"] == {"pending": 1, "syncing": 0, "synced": 1, "failed": 1}
    first, second, third = done.json["subscriptions"]
    assert first == {
        "id": str(synced.id),
        "app": "client",
        "repository": "owner/a",
        "status": "synced",
        "paused": False,
        "commit": "c" * 40,
        "files": 412,
        "left_out": {"submodules": 0, "long_paths": 0, "large_files": 0, "unsafe_paths": 0},
        "unsafe_sent": 0,
        "retry_count": 0,
        "error_kind": None,
        "last_error": None,
        "due_at": None,
        "last_success_at": synced.last_success_at.isoformat().replace("+00:00", "Z"),
        "awaits_first_commit": False,
        "throttled_until": None,
    }
    assert second["id"] == str(failed.id)
    assert (second["error_kind"], second["retry_count"]) == ("endpoint_error", 6)
    assert second["last_error"] == failed.last_error
    assert (second["commit"], second["files"]) == (None, None)
    assert (third["id"], third["paused"], third["status"]) == (str(paused.id), True, "pending")
    assert third["due_at"] is not None
    assert set(done.json["health"]) == {"database", "redis", "scheduler", "workers", "trouble"}


def test_selectors_combine_and_totals_follow_them(run: Run, three: list[Subscription]) -> None:
    assert [row["repository"] for row in run("status", "--app=client", "--json").json["subscriptions"]] == [
        "owner/a",
        "owner/b",
    ]
    named = run("status", "client/owner/b", three[2].id, "--app", three[1].app_id, "--json").json
    assert [row["repository"] for row in named["subscriptions"]] == ["owner/b"]
    assert named["totals"] == {"pending": 0, "syncing": 0, "synced": 0, "failed": 1}
    assert run("status", "--repository=owner/b", "--app=other", "--json").json["subscriptions"] == []


@pytest.mark.parametrize("selector", ["client/nothing", "nothing", "--app=nobody", "--repository=nothing"])
def test_what_is_not_there_is_said(run: Run, three: list[Subscription], selector: str) -> None:
    assert run("status", selector, "--json").refusal == "not_found"
    assert run("status", selector).code == 2


def test_what_waits_for_a_throttled_endpoint_says_until_when(run: Run) -> None:
    row = SubscriptionFactory.create(app__name="client", repository__name="owner/a")
    throttle(row.app_id)
    until = App.objects.values_list("throttled_until", flat=True).get()
    assert until is not None

    (shown,) = run("status", "--json").json["subscriptions"]
    assert (shown["status"], shown["throttled_until"]) == ("pending", until.isoformat().replace("+00:00", "Z"))
    first, last, _ = run("status").out.splitlines()
    assert first == f"client/owner/a: pending, throttled until {until:%Y-%m-%d %H:%M:%S} UTC"
    assert last.endswith("0 failed, 1 throttled")


def test_a_remote_without_a_commit_is_not_called_synced(run: Run) -> None:
    SubscriptionFactory.create(app__name="client", repository__name="owner/new", synced=True, clean_epoch=1)
    (shown,) = run("status", "--json").json["subscriptions"]
    assert (shown["status"], shown["commit"], shown["awaits_first_commit"]) == ("synced", None, True)
    line, total, _ = run("status").out.splitlines()
    assert line == "client/owner/new: waiting for its first commit"
    assert total.endswith(", 1 waiting for a first commit")


def test_in_words(run: Run, three: list[Subscription]) -> None:
    lines = run("status").out.splitlines()
    assert lines[0].startswith("client/owner/a: synced, 412 files at cccccccccccc, synced now")
    assert lines[1] == "client/owner/b: failed, endpoint_error: The endpoint failed with 500 Internal Server Error."
    assert lines[2] == "other/owner/c: pending, paused"
    assert lines[3] == "3 subscriptions: 1 pending, 0 syncing, 1 synced, 1 failed, 1 paused"
    assert lines[4].startswith("database answers, redis answers, scheduler ")


def test_what_is_paused_is_not_said_to_be_tried_again(run: Run) -> None:
    told = {"error_kind": "endpoint_gone", "last_error": "It wants no more webhooks."}
    SubscriptionFactory.create(app__name="gone", app__is_active=False, repository__name="owner/d", **told)
    line = run("status").out.splitlines()[0]
    assert line == "gone/owner/d: pending, paused, endpoint_gone: It wants no more webhooks."


def test_names_from_elsewhere_cannot_steer_the_terminal(run: Run) -> None:
    SubscriptionFactory.create(repository__name="owner/\x1b[31mred")
    assert "\x1b" not in run("status").out


def test_health_counts_what_was_seen(run: Run) -> None:
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.delete(BEAT_KEY, WORKERS_KEY)
    assert run("status", "--json").json["health"]["scheduler"] is False
    beat_seen()
    worker_seen("one")
    worker_seen("one")
    worker_seen("two")
    health = run("status", "--json").json["health"]
    assert health == {"database": True, "redis": True, "scheduler": True, "workers": 2, "trouble": {}}


def test_ten_thousand_subscriptions_cost_the_same_few_queries_and_a_moment(run: Run) -> None:
    apps = App.objects.bulk_create([AppFactory.build(secret="whsec_x") for _ in range(10)])
    repositories = Repository.objects.bulk_create(RepositoryFactory.build_batch(1_000))
    Subscription.objects.bulk_create(Subscription(app=a, repository=r) for a in apps for r in repositories)
    started = time.monotonic()
    with CaptureQueriesContext(connection) as queries:
        done = run("status", "--json")
    assert done.json["totals"]["pending"] == len(done.json["subscriptions"]) == 10_000
    assert len(queries) <= 1
    assert time.monotonic() - started < 5


def test_a_database_of_another_version_is_said(run: Run) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE syncsvc_snapshot RENAME TO elsewhere")
    try:
        refused = run("status", "--json")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO syncsvc_snapshot")
    assert refused.refusal == "unavailable"
    assert "type `make up`, or manage.py migrate" in refused.json["error"]["message"]
