"""The migrations say what the models say."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from syncsvc.models import AuditEntry, SyncRun
from syncsvc.models.fields import EndingSecret, Sealed
from tests.factories import (
    DeliveryAttemptFactory,
    OperationItemFactory,
    RepositoryFactory,
    SnapshotFactory,
    SubscriptionFactory,
    SyncRunFactory,
)

DAY = timedelta(days=1)


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_django_s_checks_have_nothing_to_say() -> None:
    """All there are, which load every page and address; commands run those of our settings only."""
    call_command("check", fail_level="WARNING")


def migrated_to(name: str, model: str = "App") -> Any:
    """The model as that migration leaves it."""
    executor = MigrationExecutor(connection)
    executor.migrate([("syncsvc", name)])
    return executor.loader.project_state([("syncsvc", name)]).apps.get_model("syncsvc", model)


def latest_migration() -> str:
    graph = MigrationExecutor(connection).loader.graph
    (latest,) = [name for app, name in graph.leaf_nodes() if app == "syncsvc"]
    return latest


@pytest.mark.django_db(transaction=True)
def test_a_secret_that_still_signs_is_taken_along_in_both_directions() -> None:
    graph, latest = MigrationExecutor(connection).loader.graph, latest_migration()
    (here,) = [key for key in graph.nodes if key[1].endswith("_previous_secrets")]
    (before,) = [parent.key[1] for parent in graph.node_map[here].parents]
    now = timezone.now()
    url = "https://hook.example.com/"
    try:
        old: Any = migrated_to(before)
        old.objects.create(name="rotating", url=url, secret="b", previous_secret="a", previous_secret_until=now + DAY)
        old.objects.create(name="over", url=url, secret="b", previous_secret="a", previous_secret_until=now - DAY)
        old.objects.create(name="plain", url=url, secret="a")
        new: Any = migrated_to(here[1])
        (kept,) = new.objects.get(name="rotating").previous_secrets
        assert (kept.sealed.reveal(), kept.until) == ("a", now + DAY)
        assert [app.previous_secrets for app in new.objects.exclude(name="rotating")] == [[], []]
        newest, oldest = (EndingSecret(Sealed.seal(text), now + n * DAY) for n, text in ((2, "c"), (1, "b")))
        new.objects.filter(name="plain").update(previous_secrets=[newest, oldest])
        old = migrated_to(before)
        plain = old.objects.get(name="plain")
        assert (plain.previous_secret.reveal(), plain.previous_secret_until) == ("c", now + 2 * DAY)
        assert old.objects.get(name="rotating").previous_secret.reveal() == "a"
        assert old.objects.get(name="over").previous_secret is None
    finally:
        migrated_to(latest)


@pytest.mark.django_db(transaction=True)
def test_rows_of_newer_error_kinds_and_selections_survive_a_step_back() -> None:
    """The release before knows neither, and its constraints refuse the kinds."""
    latest = latest_migration()
    older = {
        "repository_too_large": "git_not_found",
        "git_forbidden_address": "git_not_found",
        "egress_proxy": "internal",
    }
    for kind in older:
        repository = RepositoryFactory(error_kind=kind)
        subscription = SubscriptionFactory(failed=True, error_kind=kind, repository=repository)
        run = SyncRunFactory(subscription=subscription, error_kind=kind, outcome="failed")
        OperationItemFactory(subscription=subscription, status="failed", error_kind=kind, settled_at=timezone.now())
        DeliveryAttemptFactory(run=run, error_kind=kind)
    clean = [
        SubscriptionFactory(synced=True, clean_snapshot=SnapshotFactory(), clean_selection=digest)
        for digest in ("", "f" * 64)
    ]
    AuditEntry.objects.create(action="added", source="console", actor="somebody")
    try:
        old: Any = migrated_to("0070_previous_secrets", "SyncRun")
        for model in ("Subscription", "Repository", "SyncRun", "OperationItem", "DeliveryAttempt"):
            rows = old._meta.apps.get_model("syncsvc", model).objects.exclude(error_kind="")
            assert sorted(rows.values_list("error_kind", flat=True)) == sorted(older.values()), model
    finally:
        migrated_to(latest)
    for subscription in clean:
        subscription.refresh_from_db()
    assert [bool(subscription.clean_snapshot_id) for subscription in clean] == [True, False]
    assert SyncRun.objects.filter(error_kind="git_not_found").count() == 2
