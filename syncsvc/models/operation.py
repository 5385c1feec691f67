"""Bulk retries and re-syncs: what was asked, and what came of each subscription in it."""

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.models.error import error_kind_field, error_kind_known

COUNTS = ("total", "waiting", "running", "succeeded", "failed", "skipped", "cancelled")
# An operation's counts move with its items, in one statement; so does its end.
MOVE_COUNTS = """
  version = o.version + 1,
  status = CASE WHEN {waiting} + {running} > 0 THEN o.status ELSE 'finished' END,
  finished_at = CASE WHEN {waiting} + {running} > 0 THEN NULL ELSE now() END
"""


class Release(NamedTuple):
    """A subscription that may run now, as the wake-up needs it."""

    id: uuid.UUID
    repository_id: uuid.UUID


class OperationQuerySet(models.QuerySet["Operation"]):
    """Every verb is one statement, so that the counts add up at every instant."""

    def open(self) -> "OperationQuerySet":
        return self.exclude(status=Operation.Status.FINISHED)

    def release(self, operation_id: uuid.UUID) -> list[Release]:
        """Marks waiting items as released, apps in turn, as far as the operation's window and each app's share go.

        Passed over until later: subscriptions that are queued, syncing or released by another operation, and those of
        an app whose circuit is open.
        """
        with connection.cursor() as cursor:
            cursor.execute(RELEASE, {"operation": operation_id, "requeue": settings.REQUEUE_AFTER})
            return [Release(*row) for row in cursor.fetchall()]

    def skip_unfit(self, operation_id: uuid.UUID) -> int:
        """Settles waiting items that need no run, or can have none, as skipped with the reason; how many."""
        return _moved(SKIP_UNFIT, {"operation": operation_id})

    def settle_item(self, run_id: uuid.UUID, *, status: str, reason: str, error_kind: str, files: int) -> uuid.UUID | None:
        """Settles the item that this run was for; its operation's id, None where the run was for none."""
        values = {"run": run_id, "status": status, "reason": reason[:500], "kind": error_kind, "files": files}
        return _operation_of(SETTLE_ITEM.format(status=status), values)

    def put_back_item(self, run_id: uuid.UUID, *, released: bool) -> uuid.UUID | None:
        """The run did not end by itself, or could not begin: its item waits again; under a cancel it is cancelled."""
        return _operation_of(PUT_BACK_ITEM, {"run": run_id, "released": released})

    def put_back_items(self, run_ids: Sequence[uuid.UUID]) -> None:
        """The same for the runs that dead workers left."""
        for run_id in run_ids:
            self.put_back_item(run_id, released=True)

    def cancel(self, operation_id: uuid.UUID) -> bool:
        """Cancels every item that no worker has claimed; those subscriptions are as they were. False if it has ended."""
        return _moved(CANCEL, {"operation": operation_id}) == 1

    def pause(self, operation_id: uuid.UUID, reason: str = "") -> bool:
        """Takes the mark off every item that no worker has claimed, and releases no more."""
        return _moved(PAUSE, {"operation": operation_id, "reason": reason[:500]}) == 1

    def resume(self, operation_id: uuid.UUID) -> bool:
        paused = self.filter(id=operation_id, status=Operation.Status.PAUSED)
        return paused.update(status=Operation.Status.RUNNING, reason="", abort_percent=None, version=F("version") + 1) == 1


def _moved(sql: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _operation_of(sql: str, values: dict[str, Any]) -> uuid.UUID | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return row[0] if row else None


class Operation(models.Model):
    """A bulk retry or bulk re-sync. Its counts are those of its items, at every instant."""

    class Kind(models.TextChoices):
        RETRY = "retry"
        RESYNC = "resync", "re-sync"

    class Status(models.TextChoices):
        RUNNING = "running"
        PAUSED = "paused"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"
        FINISHED = "finished"

    class Source(models.TextChoices):
        CONSOLE = "console"
        COMMAND = "command"
        API = "api"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=6, choices=Kind)
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    # What was asked for: as data, and in words.
    scope = models.JSONField(default=dict)
    scope_text = models.CharField(max_length=500)
    # Who, how, and from where.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    asked_by = models.CharField(max_length=150)
    source = models.CharField(max_length=7, choices=Source)
    address = models.GenericIPAddressField(null=True)
    # The same request sent twice starts one operation.
    idempotency_key = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001 - none is not a blank one
    # The finished operation whose failed items this one retries.
    retries = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="retried_by")
    max_running = models.PositiveSmallIntegerField(default=50)
    # Pause by itself where more than this percentage of the first `abort_first` items fail.
    abort_percent = models.PositiveSmallIntegerField(null=True)
    abort_first = models.PositiveIntegerField(default=50)
    # Why it is paused.
    reason = models.CharField(max_length=500, blank=True, default="")

    total = models.PositiveIntegerField()
    waiting = models.PositiveIntegerField()
    running = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    # Files delivered by its runs.
    files = models.PositiveBigIntegerField(default=0)
    # Rises with every change of the counts and the status: progress with a lower one is older.
    version = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = OperationQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(total=F("waiting") + F("running") + F("succeeded") + F("failed") + F("skipped") + F("cancelled")),
                name="operation_counts_add_up",
            ),
            models.CheckConstraint(condition=Q(max_running__gt=0), name="operation_max_running"),
        )
        indexes = (
            # The sweep that mends lost wake-ups; what the console shows as running.
            models.Index(fields=["created_at"], condition=~Q(status__in=["finished", "cancelled"]), name="operation_open"),
            models.Index(fields=["-created_at"], name="operation_newest"),
        )
        permissions = (
            ("bulk_retry", "Can retry many subscriptions at once"),
            ("bulk_resync", "Can re-sync many subscriptions at once"),
            ("cancel_operation", "Can cancel, pause and resume operations"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.scope_text}"

    @property
    def completed(self) -> int:
        return self.succeeded + self.failed + self.skipped + self.cancelled

    @property
    def ended(self) -> bool:
        return self.status in (self.Status.FINISHED, self.Status.CANCELLED)


class OperationItem(models.Model):
    """One subscription of an operation. It keeps its names when the subscription is deleted."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        SKIPPED = "skipped"
        CANCELLED = "cancelled"

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items", db_index=False)
    subscription = models.ForeignKey(
        "syncsvc.Subscription", on_delete=models.SET_NULL, null=True, related_name="operation_items", db_index=False
    )
    app_id = models.UUIDField()
    app_name = models.CharField(max_length=100)
    repository_name = models.CharField(max_length=200)
    # The how manieth of its app: items are released by it, so that apps take turns.
    turn = models.PositiveIntegerField()
    status = models.CharField(max_length=9, choices=Status, default=Status.WAITING)
    # The mark: a run of its subscription may begin for this item.
    released_at = models.DateTimeField(null=True)
    # A re-sync has forgotten the ledger already: a second claim goes on instead of beginning anew.
    applied_at = models.DateTimeField(null=True)
    run_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=500, blank=True, default="")
    error_kind = error_kind_field()
    files = models.PositiveIntegerField(default=0)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            error_kind_known("item"),
            # At most one released item a subscription, over all operations.
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(released_at__isnull=False, status__in=["waiting", "running"]),
                name="item_released_once",
            ),
        )
        indexes = (
            # Release, in turn.
            models.Index(
                fields=["operation", "turn", "id"],
                condition=Q(status="waiting", released_at=None),
                name="item_to_release",
            ),
            # The operation's page, and its items by cursor.
            models.Index(fields=["operation", "id"], name="item_of_operation"),
            models.Index(fields=["operation", "settled_at"], name="item_settled"),
            # The item of a run that settles.
            models.Index(fields=["run_id"], condition=Q(status="running"), name="item_of_run"),
            # Deleting a subscription.
            models.Index(fields=["subscription"], name="item_of_subscription"),
        )

    def __str__(self) -> str:
        return f"{self.app_name}/{self.repository_name}"


# The statements. Whatever locks several rows locks the operation, then items, then subscriptions: no two can wait for
# each other.
RELEASE = """
WITH o AS (
  SELECT op.id, op.kind, op.max_running - op.running - (
           SELECT count(*) FROM syncsvc_operationitem i
           WHERE i.operation_id = op.id AND i.status = 'waiting' AND i.released_at IS NOT NULL) AS room
  FROM syncsvc_operation op WHERE op.id = %(operation)s AND op.status = 'running' FOR UPDATE OF op
), candidates AS (
  SELECT i.id, s.id AS subscription_id, s.repository_id
  FROM o
  JOIN syncsvc_operationitem i ON i.operation_id = o.id AND i.status = 'waiting' AND i.released_at IS NULL
  JOIN syncsvc_subscription s ON s.id = i.subscription_id
  JOIN syncsvc_app a ON a.id = s.app_id
  JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE s.status <> 'syncing' AND (o.kind = 'resync' OR s.status <> 'synced')
    AND (s.queued_at IS NULL OR s.queued_at < now() - make_interval(secs => %(requeue)s))
    AND s.is_active AND a.is_active AND r.is_active
    AND (a.circuit_opened_at IS NULL OR a.circuit_until <= now())
    AND NOT EXISTS (SELECT FROM syncsvc_operationitem other
                    WHERE other.subscription_id = s.id AND other.released_at IS NOT NULL
                      AND other.status IN ('waiting', 'running'))
  ORDER BY i.turn, i.id
  LIMIT (SELECT greatest(room, 0) FROM o)
  FOR UPDATE OF s SKIP LOCKED
), released AS (
  UPDATE syncsvc_operationitem i SET released_at = now() FROM candidates c WHERE i.id = c.id
), queued AS (
  UPDATE syncsvc_subscription s SET queued_at = now() FROM candidates c WHERE s.id = c.subscription_id
)
SELECT subscription_id, repository_id FROM candidates
"""

SKIP_UNFIT = """
WITH op AS (
  SELECT id, kind FROM syncsvc_operation WHERE id = %(operation)s AND status = 'running' FOR UPDATE
), unfit AS (
  SELECT i.id, CASE
      WHEN s.id IS NULL THEN 'The subscription was deleted.'
      WHEN NOT a.is_active THEN 'The app is paused.'
      WHEN NOT r.is_active THEN 'The repository is paused.'
      WHEN NOT s.is_active THEN 'The subscription is paused.'
      ELSE 'All is well: it was synced meanwhile.' END AS reason
  FROM op
  JOIN syncsvc_operationitem i ON i.operation_id = op.id AND i.status = 'waiting'
  LEFT JOIN syncsvc_subscription s ON s.id = i.subscription_id
  LEFT JOIN syncsvc_app a ON a.id = s.app_id
  LEFT JOIN syncsvc_repository r ON r.id = s.repository_id
  WHERE s.id IS NULL OR NOT (a.is_active AND r.is_active AND s.is_active)
     OR (op.kind = 'retry' AND s.status = 'synced')
  FOR UPDATE OF i SKIP LOCKED
), skipped AS (
  UPDATE syncsvc_operationitem i SET status = 'skipped', reason = unfit.reason, settled_at = now(), released_at = NULL
  FROM unfit WHERE i.id = unfit.id AND i.status = 'waiting' RETURNING i.id
), n AS (SELECT count(*)::int AS n FROM skipped)
UPDATE syncsvc_operation o SET waiting = o.waiting - n, skipped = o.skipped + n,
""" + MOVE_COUNTS.format(waiting="(o.waiting - n)", running="o.running") + """
FROM n WHERE o.id = %(operation)s AND n > 0 RETURNING n
"""

SETTLE_ITEM = """
WITH op AS (
  SELECT id FROM syncsvc_operation
  WHERE id = (SELECT operation_id FROM syncsvc_operationitem WHERE run_id = %(run)s AND status = 'running')
  FOR UPDATE
), settled AS (
  UPDATE syncsvc_operationitem i SET status = %(status)s, reason = %(reason)s, error_kind = %(kind)s,
    files = i.files + %(files)s, settled_at = now(), released_at = NULL
  FROM op WHERE i.operation_id = op.id AND i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id
)
UPDATE syncsvc_operation o SET running = o.running - 1, {status} = o.{status} + 1, files = o.files + %(files)s,
  version = o.version + 1,
  status = CASE WHEN o.waiting + o.running - 1 > 0 THEN o.status
                WHEN o.status = 'cancelling' THEN 'cancelled' ELSE 'finished' END,
  finished_at = CASE WHEN o.waiting + o.running - 1 > 0 THEN NULL ELSE now() END
FROM settled WHERE o.id = settled.operation_id RETURNING o.id
"""

# In a cancelling operation nothing waits any more.
PUT_BACK_ITEM = """
WITH o AS (
  SELECT op.id, op.status = 'cancelling' AS cancelling, op.status = 'running' AS goes_on
  FROM syncsvc_operation op JOIN syncsvc_operationitem i ON i.operation_id = op.id
  WHERE i.run_id = %(run)s AND i.status = 'running' FOR UPDATE OF op
), back AS (
  UPDATE syncsvc_operationitem i SET run_id = NULL,
    status = CASE WHEN cancelling THEN 'cancelled' ELSE 'waiting' END,
    settled_at = CASE WHEN cancelling THEN now() END,
    released_at = CASE WHEN %(released)s AND goes_on THEN now() END
  FROM o WHERE i.run_id = %(run)s AND i.status = 'running' RETURNING i.operation_id
)
UPDATE syncsvc_operation op SET running = op.running - 1, version = op.version + 1,
  waiting = op.waiting + (NOT cancelling)::int, cancelled = op.cancelled + cancelling::int,
  status = CASE WHEN cancelling AND op.running = 1 THEN 'cancelled' ELSE op.status END,
  finished_at = CASE WHEN cancelling AND op.running = 1 THEN now() END
FROM o, back WHERE op.id = o.id RETURNING op.id
"""

# What release did to a subscription, its queued_at, goes with the mark.
_TAKE_MARKS_OFF = """
  unqueued AS (
    UPDATE syncsvc_subscription s SET queued_at = NULL FROM marked
    WHERE s.id = marked.subscription_id AND marked.released_at IS NOT NULL AND s.status <> 'syncing'
  )
"""

CANCEL = """
WITH o AS (
  SELECT id FROM syncsvc_operation
  WHERE id = %(operation)s AND status IN ('running', 'paused', 'cancelling') FOR UPDATE
), marked AS (
  SELECT i.id, i.subscription_id, i.released_at FROM syncsvc_operationitem i JOIN o ON o.id = i.operation_id
  WHERE i.status = 'waiting' FOR UPDATE OF i
), cancelled AS (
  UPDATE syncsvc_operationitem i SET status = 'cancelled', released_at = NULL, settled_at = now()
  FROM marked WHERE i.id = marked.id RETURNING i.id
),""" + _TAKE_MARKS_OFF + """, n AS (SELECT count(*)::int AS n FROM cancelled)
UPDATE syncsvc_operation op SET waiting = op.waiting - n, cancelled = op.cancelled + n, version = op.version + 1,
  status = CASE WHEN op.running > 0 THEN 'cancelling' ELSE 'cancelled' END,
  finished_at = CASE WHEN op.running > 0 THEN NULL ELSE now() END
FROM o, n WHERE op.id = o.id RETURNING 1
"""

PAUSE = """
WITH o AS (
  SELECT id FROM syncsvc_operation WHERE id = %(operation)s AND status = 'running' FOR UPDATE
), marked AS (
  SELECT i.id, i.subscription_id, i.released_at FROM syncsvc_operationitem i JOIN o ON o.id = i.operation_id
  WHERE i.status = 'waiting' AND i.released_at IS NOT NULL FOR UPDATE OF i
), held AS (
  UPDATE syncsvc_operationitem i SET released_at = NULL FROM marked WHERE i.id = marked.id
),""" + _TAKE_MARKS_OFF + """
UPDATE syncsvc_operation op SET status = 'paused', reason = %(reason)s, version = op.version + 1
FROM o WHERE op.id = o.id RETURNING 1
"""
