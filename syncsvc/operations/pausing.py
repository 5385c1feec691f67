"""Pausing and resuming apps, repositories and subscriptions: one or many."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from syncsvc.exceptions import Refused
from syncsvc.models import App, Subscription
from syncsvc.models.pausing import set_active
from syncsvc.operations.asker import Asker
from syncsvc.operations.due import make_due
from syncsvc.types import ErrorKind


def pause(rows: QuerySet[Any], asker: Asker, *, at_most: int | None = None, reason: str = "") -> list[Any]:
    """Sends nothing more from the next run on; loses nothing. Returns the rows that were active.

    `reason` is shown with an app for as long as it is paused. Refused: `conflict` where there are more rows than
    `at_most`, the number that was shown.
    """
    return _change(rows, asker, is_active=False, at_most=at_most, reason=reason)


def resume(rows: QuerySet[Any], asker: Asker, *, at_most: int | None = None) -> list[Any]:
    """Runs subscriptions that became due meanwhile within seconds. Returns the rows that were paused.

    Makes due each subscription of an app that met a 410, the answer that pauses an app by itself. Refused as `pause`.
    """
    return _change(rows, asker, is_active=True, at_most=at_most)


def to_change(rows: QuerySet[Any], *, is_active: bool) -> QuerySet[Any]:
    """The rows that are not in that state yet."""
    manager = rows.model._default_manager
    found: QuerySet[Any] = manager.filter(pk__in=rows.order_by().values("pk"), is_active=not is_active)
    return found.select_related("app", "repository") if rows.model is Subscription else found


def _change(rows: QuerySet[Any], asker: Asker, *, is_active: bool, at_most: int | None, reason: str = "") -> list[Any]:
    with transaction.atomic():
        changing = to_change(rows, is_active=is_active).order_by("pk")
        if rows.model is App and is_active:
            gone = Subscription.objects.filter(app__in=changing.values("pk"), error_kind=ErrorKind.ENDPOINT_GONE)
            make_due(gone)
        found = list(changing.select_for_update(of=("self",), no_key=True))
        if at_most is not None and len(found) > at_most:
            raise Refused("conflict", f"It would be {len(found):,} by now, where {at_most:,} were shown.")
        ids = [row.pk for row in found]
        set_active(rows.model._default_manager.filter(pk__in=ids), is_active=is_active, reason=reason)
        asker.log_all(found, "Resumed." if is_active else "Paused.")
    for row in found:
        row.is_active = is_active
    return found
