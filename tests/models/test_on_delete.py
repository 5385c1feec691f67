"""Deleting a row, whatever points at it, and however it is deleted, leaves nothing behind that points nowhere."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.db.models.functions import Now

from syncsvc.models import (
    ApiToken,
    App,
    AuditEntry,
    DeliveredFile,
    DeliveryAttempt,
    Operation,
    OperationItem,
    RemoteHost,
    Repository,
    Snapshot,
    Subscription,
    SyncRun,
)
from syncsvc.operations import bulk
from syncsvc.operations.release import go_on, sweep_operations
from syncsvc.operations.scope import Scope
from syncsvc.sync.pipeline import run_subscription
from tests import factories
from tests.operations.fleet import ASKER, RESYNC, adds_up
from tests.receiver import Reply
from tests.sync.conftest import world
from tests.sync.world import World

__all__ = ["world"]

FACTORIES: dict[Any, Any] = {
    ApiToken: factories.ApiTokenFactory,
    App: factories.AppFactory,
    AuditEntry: lambda: AuditEntry.objects.create(action="changed", source="console"),
    DeliveredFile: factories.DeliveredFileFactory,
    DeliveryAttempt: factories.DeliveryAttemptFactory,
    Operation: factories.OperationFactory,
    OperationItem: factories.OperationItemFactory,
    RemoteHost: factories.RemoteHostFactory,
    Repository: factories.RepositoryFactory,
    Snapshot: factories.SnapshotFactory,
    Subscription: factories.SubscriptionFactory,
    SyncRun: factories.SyncRunFactory,
}
OURS = list(apps.get_app_config("syncsvc").get_models())
NOTHING, CASCADE, SET_NULL = "a", "c", "n"  # pg_constraint.confdeltype


def all_models() -> list[type[models.Model]]:
    return [*OURS, get_user_model()]


def references(model: type[models.Model]) -> Iterator["models.ForeignKey[Any, Any]"]:
    """The foreign keys of our models that point at this one."""
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(relation, models.ManyToOneRel) and relation.related_model in OURS:
            yield relation.field


def orphans() -> dict[str, int]:
    """By foreign key, checked by the database or not, how many rows point nowhere."""
    found = {}
    for field in (field for model in all_models() for field in references(model)):
        table, target = field.model._meta.db_table, field.remote_field.model._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE {field.column} IS NOT NULL"  # noqa: S608
                f" AND NOT EXISTS (SELECT FROM {target} t WHERE t.id = {table}.{field.column})"
            )
            if count := cursor.fetchone()[0]:
                found[str(field)] = count
    return found


def by_django(row: models.Model) -> None:
    row.delete()


def by_sql(row: models.Model) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {row._meta.db_table} WHERE {row._meta.pk.column} = %s", [row.pk])  # noqa: S608


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("delete", [by_django, by_sql])
@pytest.mark.parametrize("model", OURS)
def test_deleting_a_row_leaves_nothing_that_points_at_it(
    model: type[models.Model], delete: Callable[[models.Model], None]
) -> None:
    going, staying = FACTORIES[model](), FACTORIES[model]()
    for row in (going, staying):
        for field in references(model):
            FACTORIES[field.model](**{field.name: row})
    before = {
        field: field.model._default_manager.filter(**{field.name: staying}).count() for field in references(model)
    }

    delete(going)

    assert not model._default_manager.filter(pk=going.pk).exists()
    assert orphans() == {}
    for field, count in before.items():
        assert field.model._default_manager.filter(**{field.name: staying}).count() == count


@pytest.mark.django_db(transaction=True)
def test_deleting_a_user_takes_their_tokens_and_keeps_their_operations() -> None:
    for delete in (by_django, by_sql):
        user = factories.UserFactory()
        factories.ApiTokenFactory(user=user)
        operation = factories.OperationFactory(user=user)
        delete(user)
        assert orphans() == {}
        assert not ApiToken.objects.exists()
        assert Operation.objects.get(id=operation.id).user_id is None


@pytest.mark.django_db
def test_every_foreign_key_says_in_the_database_what_becomes_of_its_row() -> None:
    """But the three that are not checked a row: triggers do it for them, see the tests above."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conrelid::regclass::text, attname, confdeltype FROM pg_constraint
               JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] WHERE contype = 'f'"""
        )
        said = {(table, column): action for table, column, action in cursor.fetchall()}
    fields = [field for model in OURS for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
    unchecked = {str(field) for field in fields if not field.db_constraint}
    for field in fields:
        if field.db_constraint:
            expected = SET_NULL if field.null else CASCADE
            assert said[field.model._meta.db_table, field.column] == expected, field
    assert unchecked == {
        "syncsvc.DeliveredFile.subscription",
        "syncsvc.DeliveryAttempt.subscription",
        "syncsvc.DeliveryAttempt.run",
    }


FILES = 450  # more than are recorded in two groups


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("files", [3, FILES])
@pytest.mark.parametrize("model", [App, Repository, Subscription, SyncRun, Operation])
def test_deleting_during_a_run_leaves_nothing_either(model: type[models.Model], files: int, world: World) -> None:
    """A run of an operation's item; its endpoint deletes the row while it takes the first file.

    Snapshots go with their repository only.
    """
    world.repo.commit({f"docs/{n}.md": b"%d\n" % n for n in range(files)})
    Subscription.objects.update(due_at=Now())
    operation = bulk.start(Scope(kind=RESYNC.kind), ASKER, confirmed=True)
    deleted: list[bool] = []

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        if not deleted:
            deleted.append(True)
            for row in model._default_manager.all():
                by_sql(row)
            connection.close()
        return 204, {}, b"", 0.0

    world.receiver.answer = answer
    run_subscription(world.id, worker="test", settled=go_on)
    sweep_operations()

    assert deleted
    assert orphans() == {}
    assert adds_up()
    if model not in (Operation, SyncRun):
        assert not DeliveryAttempt.objects.exists()
        operation.refresh_from_db()
        assert (operation.status, operation.skipped) == ("finished", 1)
        assert "deleted" in OperationItem.objects.get().reason
