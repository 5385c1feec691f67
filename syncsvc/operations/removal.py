"""Deleting apps, repositories and subscriptions: what goes with them, and the delete itself.

The database takes what hangs on a row, one statement a table; Django's own way would read each row that goes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectNotUpdated
from django.db import models, transaction
from django.db.models import QuerySet

from syncsvc.exceptions import Refused
from syncsvc.models import (
    App,
    AuditEntry,
    DeliveredFile,
    DeliveryAttempt,
    Operation,
    OperationItem,
    Repository,
    Snapshot,
    Subscription,
    SyncRun,
)
from syncsvc.models.operation import UNSETTLED
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import release

OWNED: tuple[type[models.Model], ...] = (DeliveredFile, DeliveryAttempt, SyncRun)


def subscriptions_of(rows: QuerySet[Any]) -> SubscriptionQuerySet:
    """The subscriptions of apps or repositories; or the rows themselves, where they are subscriptions."""
    ids = rows.order_by().values("pk")
    if rows.model is App:
        return Subscription.objects.filter(app__in=ids)
    if rows.model is Repository:
        return Subscription.objects.filter(repository__in=ids)
    return Subscription.objects.filter(pk__in=ids)


def what_goes(rows: QuerySet[Any]) -> list[QuerySet[Any]]:
    """All rows that a delete takes: a queryset for each table, that of the given rows first."""
    subscriptions = subscriptions_of(rows)
    parts: list[QuerySet[Any]] = [rows]
    if rows.model is not Subscription:
        parts.append(subscriptions)
    if rows.model is Repository:
        parts.append(Snapshot.objects.filter(repository__in=rows.order_by().values("pk")))
    ids = subscriptions.order_by().values("id")
    return [*parts, *(model._default_manager.filter(subscription__in=ids) for model in OWNED)]


def remove(rows: QuerySet[Any], asker: Asker) -> int:
    """Deletes apps, repositories or subscriptions with all that hangs on them, also while they run.

    Operations skip the items that they had still to run, so that their counts go on adding up. Returns the number of
    rows that were deleted.
    """
    found = rows.model._default_manager.filter(pk__in=[row.pk for row in rows]).order_by("pk")
    while True:
        with suppress(_OvertakenError), transaction.atomic():
            return _remove(found, asker)


@contextmanager
def still_there(row: models.Model) -> Iterator[None]:
    """Saves inside that find the row deleted are Refused as `not_found`."""
    try:
        yield
    except ObjectNotUpdated:
        raise Refused("not_found", f"{row} was deleted meanwhile; nothing was changed.") from None


class _OvertakenError(Exception):
    """An operation began with these subscriptions before they were locked."""


def _remove(found: QuerySet[Any], asker: Asker) -> int:
    operations = _lock(found)
    going = list(found.select_related("app", "repository") if found.model is Subscription else found)
    asker.log_all(going, "Deleted.", action=AuditEntry.Action.DELETED)
    found.order_by().delete()
    for id in operations:
        transaction.on_commit(partial(release, id, look_at_all=True))
    return len(going)


def _lock(rows: QuerySet[Any]) -> Sequence[UUID]:
    """Locks repositories, operations and subscriptions in everybody's order; returns the operations that have them.

    First not against rows that refer to them, because others check those when they commit, and hold what is waited for
    here. Then the subscriptions against these too, in the order in which an operation that begins locks them.
    """
    if rows.model is Repository:  # a poll locks its row, and then the subscriptions that it asks for
        list(rows.select_for_update(no_key=True).values_list("pk"))
    subscriptions = subscriptions_of(rows)
    operations = _with_items_of(subscriptions).order_by("id").values_list("id", flat=True)
    locked = list(operations.select_for_update())
    subscriptions.in_order()
    if set(operations.all()) - set(locked):
        raise _OvertakenError
    list(subscriptions.order_by("id").select_for_update(of=("self",)).values_list("id"))
    return locked


def _with_items_of(subscriptions: SubscriptionQuerySet) -> "QuerySet[Operation]":
    open_items = OperationItem.objects.filter(
        subscription__in=subscriptions.order_by().values("id"), status__in=UNSETTLED
    )
    return Operation.objects.filter(id__in=open_items.values("operation_id"))
