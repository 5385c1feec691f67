"""seed_scale: invented rows that satisfy every constraint, look like life, and never come by accident."""

from collections import Counter

import pytest
from django.db import connection
from django.db.models import Count, F, Sum

from syncsvc.management.scale.sizes import Sizes
from syncsvc.models import (
    App,
    DeliveredFile,
    DeliveryAttempt,
    Operation,
    OperationItem,
    Repository,
    Snapshot,
    Subscription,
    SyncRun,
)
from tests.factories import AppFactory
from tests.management.conftest import Ran, Run

COUNTS = ("waiting", "running", "succeeded", "failed", "skipped", "cancelled")


def seeded(run: Run, *arguments: object) -> Ran:
    return run("seed_scale", "--scale=0.01", f"--into={connection.settings_dict['NAME']}", *arguments, "--json")


def test_the_rows_are_as_many_as_was_said_and_hang_together(run: Run) -> None:
    done = seeded(run)
    assert done.code == 0
    sizes = Sizes.scaled(0.01)
    told = Counter[str]()
    for table in done.json["tables"]:
        told[table["table"]] += table["rows"]
    models = (
        App,
        Repository,
        Snapshot,
        Subscription,
        SyncRun,
        DeliveryAttempt,
        DeliveredFile,
        Operation,
        OperationItem,
    )
    assert told == {model._meta.db_table: model._default_manager.count() for model in models}
    assert done.json["totals"]["rows"] == told.total()
    assert (App.objects.count(), Repository.objects.count()) == (sizes.apps, sizes.repositories) == (5, 20)
    assert (Subscription.objects.count(), SyncRun.objects.count()) == (sizes.subscriptions, sizes.runs) == (100, 2_000)
    assert Snapshot.objects.count() == 20 * sizes.repositories
    assert DeliveryAttempt.objects.count() == pytest.approx(sizes.attempts, rel=0.1)
    assert DeliveredFile.objects.count() == pytest.approx(sizes.ledger, rel=0.1)
    assert Operation.objects.count() == sizes.operations + 2


def test_the_rows_say_the_same_as_one_another(run: Run) -> None:
    assert seeded(run).code == 0
    assert SyncRun.objects.aggregate(n=Sum("requests"))["n"] == DeliveryAttempt.objects.count()
    wrong_files = Subscription.objects.annotate(n=Count("delivered_files")).exclude(snapshot__files=F("n"))
    assert not wrong_files.exists()
    assert not Snapshot.objects.exclude(previous=None).exclude(previous__repository=F("repository")).exists()
    running = Subscription.objects.filter(status="syncing")
    assert set(running.values_list("id")) == set(SyncRun.objects.filter(outcome="").values_list("subscription"))
    for operation in Operation.objects.all():
        items = Counter(operation.items.values_list("status", flat=True))
        assert items == Counter({name: getattr(operation, name) for name in COUNTS if getattr(operation, name)})
    assert Operation.objects.open().count() == 2


def test_it_looks_like_life(run: Run) -> None:
    assert run("seed_scale", "--scale=0.05", f"--into={connection.settings_dict['NAME']}").code == 0
    statuses = Counter(Subscription.objects.values_list("status", flat=True))
    assert statuses["synced"] / statuses.total() == pytest.approx(0.9, abs=0.06)
    assert set(statuses) == {"synced", "failed", "pending", "syncing"}
    assert Subscription.objects.filter(status="pending", retry_count__gt=0).exists()
    causes = Subscription.objects.filter(status="failed").values_list("error_kind", "app__url")
    assert len({kind for kind, _ in causes}) >= 3
    assert len({url.split("/")[2] for _, url in causes}) >= 3
    of_each = sorted(App.objects.annotate(n=Count("subscriptions")).values_list("n", flat=True))
    assert of_each[-1] > 5 * of_each[0]


def test_the_same_seed_gives_the_same_rows_and_is_taken_once(run: Run) -> None:
    assert seeded(run, "--scale=0.004").code == 0
    first = sorted(Subscription.objects.values_list("id", "status", "error_kind"))
    assert seeded(run, "--scale=0.004", "--yes").refusal == "conflict"
    assert seeded(run, "--scale=0.004", "--yes", "--seed=2").code == 0
    assert (App.objects.count(), Subscription.objects.count()) == (4, 2 * len(first))
    with connection.cursor() as cursor:
        tables = (App, Repository, Operation, DeliveryAttempt, DeliveredFile)
        cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in tables)} CASCADE")
    assert seeded(run, "--scale=0.004").code == 0
    assert sorted(Subscription.objects.values_list("id", "status", "error_kind")) == first


def test_where_there_are_apps_it_is_refused(run: Run) -> None:
    AppFactory.create()
    assert seeded(run).refusal == "conflict"
    assert App.objects.count() == 1


def test_without_the_databases_name_it_is_refused(run: Run) -> None:
    assert run("seed_scale", "--json").refusal == "confirm"
    assert run("seed_scale", "--into=another", "--json").refusal == "usage"
    assert not App.objects.exists()


@pytest.mark.parametrize("scale", ["0", "-1", "11", "much"])
def test_a_scale_that_makes_no_sense_is_refused(run: Run, scale: str) -> None:
    assert run("seed_scale", f"--scale={scale}", "--json").refusal == "usage"


def test_subscriptions_are_shared_out_to_the_last() -> None:
    for scale in (0.001, 0.01, 0.1, 1, 3):
        sizes = Sizes.scaled(scale)
        counts = sizes.subscriptions_of_each_app()
        assert sum(counts) == sizes.subscriptions
        assert max(counts) <= sizes.repositories
        assert min(counts) >= 1
