"""Starting a bulk operation: its items are frozen in the request, and released through a window."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from syncsvc.exceptions import Refused
from syncsvc.models import Operation
from syncsvc.models.transitions import SubscriptionQuerySet
from syncsvc.operations.asker import Asker
from syncsvc.operations.preview import Preview, Shown, preview, read_digest, totals
from syncsvc.operations.release import release
from syncsvc.operations.scope import Scope

# A re-sync whose files grew by more than this since the preview is another one than was confirmed.
GROWTH = 1.1


def start(
    scope: Scope,
    asker: Asker,
    *,
    digest: str = "",
    typed_count: int | None = None,
    confirmed: bool = False,
    idempotency_key: str | None = None,
    max_running: int | None = None,
    abort_percent: int | None = None,
    retries: uuid.UUID | None = None,
) -> Operation:
    """Freezes the scope's subscriptions as an operation and releases the first of them.

    With a digest the set is that of its preview, or less; without one it is that of this moment. Refused: `conflict`
    where nothing is left or a re-sync grew, `confirm` where so much needs its count typed, `invalid`, `not_found`.
    """
    if known := started_before(idempotency_key):
        return known
    shown = read_digest(digest) if digest else None
    if shown is not None:
        if shown.scope.kind != scope.kind:  # what one may do is checked for the kind that was asked for
            raise Refused("invalid", f"The digest is of a {shown.scope.kind}, not of a {scope.kind}.")
        scope = shown.scope.with_rows_of(scope)
        _check_growth(scope, shown.files, shown.at)
    found = scope.qualifying(at=shown.at if shown else None)
    if not confirmed:
        check_typed_count(shown or preview(scope), typed_count)
    try:
        with transaction.atomic():
            operation = _freeze(
                Operation(
                    kind=scope.kind,
                    scope=scope.data,
                    scope_text=scope.words(),
                    user_id=asker.user.pk if asker.user else None,
                    asked_by=asker.name[:150],
                    source=asker.source,
                    address=asker.address,
                    idempotency_key=idempotency_key or None,
                    max_running=max_running or settings.BULK_MAX_RUNNING,
                    abort_percent=abort_percent,
                    retries_id=retries,
                ),
                found,
            )
            if shown is not None and operation.total > shown.total:
                raise Refused(
                    "conflict",
                    f"It would be about {operation.total} subscriptions by now, where the preview said {shown.total};"
                    " look at a new one.",
                )
            asker.log(
                operation, f"{operation.get_kind_display().capitalize()} of {operation.total}: {operation.scope_text}"
            )
    except IntegrityError:
        if known := started_before(idempotency_key):
            return known
        raise
    release(operation.id)
    return operation


def started_before(idempotency_key: str | None) -> Operation | None:
    """The operation that the same request started already."""
    return Operation.objects.filter(idempotency_key=idempotency_key).first() if idempotency_key else None


def retry_failed_of(operation: Operation, asker: Asker, **options: Any) -> Operation:
    """A new operation over the failed items of an ended one whose subscription is still not synced, linked to it.

    `options` are those of `start`.
    """
    if not operation.ended:
        raise Refused("conflict", "The operation has not ended yet; cancel it, or wait for its end.")
    scope = Scope(kind=Operation.Kind.RETRY, failed_in=operation.id)
    return start(scope, asker, retries=operation.id, **options)


def check_typed_count(shown: Preview | Shown, typed: int | None) -> None:
    """Refused where so much is asked for that its count must be typed, and it was not."""
    if shown.must_type_count and typed != shown.total:
        raise Refused(
            "confirm",
            f"This is about {shown.total} subscriptions and {shown.files} files. To confirm, give the number of"
            f" subscriptions: {shown.total} (in commands: --yes-count {shown.total}).",
        )


def _check_growth(scope: Scope, files_shown: int, at: datetime) -> None:
    files, _ = totals(scope, scope.qualifying(at=at))
    if files > files_shown * GROWTH:
        raise Refused(
            "conflict", f"It would send {files} files by now, where the preview said {files_shown}; look at a new one."
        )


def _freeze(operation: Operation, found: SubscriptionQuerySet) -> Operation:
    """The operation's row and one row a subscription, in one INSERT … SELECT: turns interleave the apps."""
    chosen, values = found.order_by().values("id", "app_id", "app__name", "repository__name").query.sql_with_params()
    operation.total = operation.waiting = 0
    operation.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(
            # Locked as whoever deletes them locks them, in the order of their ids: what is gone meanwhile is left out.
            f"""WITH found (id, app_id, app_name, repository_name) AS ({chosen}), kept AS (
                  SELECT id FROM syncsvc_subscription WHERE id IN (SELECT id FROM found) ORDER BY id FOR KEY SHARE
                ), chosen AS (SELECT found.* FROM found JOIN kept USING (id)), frozen AS (
                  INSERT INTO syncsvc_operationitem (operation_id, subscription_id, app_id, app_name, repository_name,
                    turn, status, reason, error_kind, files)
                  SELECT %s, id, app_id, app_name, repository_name,
                    row_number() OVER (PARTITION BY app_id ORDER BY repository_name), 'waiting', '', '', 0
                  FROM chosen RETURNING id
                ), n AS (SELECT count(*)::int AS n FROM frozen)
                UPDATE syncsvc_operation SET total = n, waiting = n FROM n WHERE syncsvc_operation.id = %s
                RETURNING total""",  # noqa: S608 - Django's own SQL, its values beside it
            [*values, operation.id, operation.id],
        )
        operation.total = operation.waiting = cursor.fetchone()[0]
    if not operation.total:
        raise Refused("conflict", f"There is nothing to do: of {operation.scope_text} none is left.")
    return operation
