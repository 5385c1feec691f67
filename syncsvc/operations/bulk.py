"""Starting a bulk operation: its items are frozen in the request, and released through a window."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction

from syncsvc.exceptions import Refused
from syncsvc.models import Operation
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.operations.asker import Asker
from syncsvc.operations.preview import Preview, Shown, preview, read_digest, totals
from syncsvc.operations.release import release
from syncsvc.operations.scope import Scope
from syncsvc.store.operations import freeze_items
from syncsvc.words import counted

# A re-sync whose files grew by more than this since the preview is another one than was confirmed.
GROWTH = 1.1
# The most that may run at once; the highest percentage of failures at which an operation pauses by itself.
MOST_RUNNING, MOST_PERCENT = 1000, 100


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
                    f"It would be about {counted(operation.total, 'subscription')} by now, where the preview said"
                    f" {shown.total:,}; look at a new one.",
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


def retry_failed_of(
    operation: Operation,
    asker: Asker,
    *,
    typed_count: int | None = None,
    confirmed: bool = False,
    idempotency_key: str | None = None,
    max_running: int | None = None,
    abort_percent: int | None = None,
) -> Operation:
    """A new operation over the failed items of an ended one whose subscription is still not synced, linked to it.

    The options are those of `start`.
    """
    if not operation.ended:
        raise Refused("conflict", "The operation has not ended yet; cancel it, or wait for its end.")
    return start(
        Scope(kind=Operation.Kind.RETRY, failed_in=operation.id),
        asker,
        typed_count=typed_count,
        confirmed=confirmed,
        idempotency_key=idempotency_key,
        max_running=max_running,
        abort_percent=abort_percent,
        retries=operation.id,
    )


def check_typed_count(shown: Preview | Shown, typed: int | None) -> None:
    """Refused where so much is asked for that its count must be typed, and it was not."""
    if shown.must_type_count and typed != shown.total:
        about = f"This is about {counted(shown.total, 'subscription')} and {counted(shown.files, 'file')}."
        how = f"give the number of subscriptions: {shown.total} (in commands: --yes-count {shown.total})"
        raise Refused("confirm", f"{about} To confirm, {how}.")


def _check_growth(scope: Scope, files_shown: int, at: datetime) -> None:
    files, _ = totals(scope, scope.qualifying(at=at))
    if files > files_shown * GROWTH:
        would = f"It would send {counted(files, 'file')} by now, where the preview said {files_shown:,}"
        raise Refused("conflict", f"{would}; look at a new one.")


def _freeze(operation: Operation, found: SubscriptionQuerySet) -> Operation:
    """Saves the operation and one item a subscription."""
    operation.total = operation.waiting = 0
    operation.save(force_insert=True)
    operation.total = operation.waiting = freeze_items(operation.id, found)
    if not operation.total:
        raise Refused("conflict", f"There is nothing to do: of {operation.scope_text} none is left.")
    return operation
