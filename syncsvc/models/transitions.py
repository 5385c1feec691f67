"""A subscription's statuses, and the verbs that move it from one to the next."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Least, Now, Random

from syncsvc.models.claim_sql import SHARE_OF, claim_sql
from syncsvc.models.claimed import Claimed, claimed_from
from syncsvc.models.complete_sql import RECORD, Completed, complete_sql, completed_from
from syncsvc.models.hot import fetch_one, hot_cursor
from syncsvc.models.run import Trigger
from syncsvc.types import ErrorKind

if TYPE_CHECKING:
    from syncsvc.models.subscription import Subscription

# Runs that an open circuit held back are spread over so many seconds when it closes.
CIRCUIT_CLOSED_SPREAD = 5
EXPIRE_BATCH = 500


class Status(models.TextChoices):
    PENDING = "pending"
    SYNCING = "syncing"
    SYNCED = "synced"
    FAILED = "failed"


# Every change of status there is, and the verb that makes it; "claim_released" is the claim of one that an operation
# has released. A test walks all pairs.
TRANSITIONS: dict[tuple[Status, Status], tuple[str, ...]] = {
    (Status.PENDING, Status.SYNCING): ("claim", "claim_released"),
    (Status.FAILED, Status.SYNCING): ("claim", "claim_released"),
    (Status.SYNCED, Status.SYNCING): ("claim_released",),
    (Status.SYNCING, Status.SYNCED): ("complete",),
    (Status.SYNCING, Status.PENDING): ("postpone", "hand_back", "expire", "complete", "fail"),
    (Status.SYNCING, Status.FAILED): ("fail",),
    (Status.SYNCED, Status.PENDING): ("request", "resync"),
    (Status.FAILED, Status.PENDING): ("request", "retry", "resync"),
    (Status.PENDING, Status.PENDING): ("request", "retry", "resync"),
    (Status.SYNCING, Status.SYNCING): ("request",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run did not get everything across. An approval of deletes lives on until the run that completes."""

    kind: ErrorKind
    error: str
    retry_count: int
    approved_commit: str = ""
    approved_deletes: int = 0


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Each verb is one conditional UPDATE and says whether it won, so that any number of workers may try."""

    def named(self, name_or_id: str) -> "Subscription":
        """The subscription `APP/REPOSITORY`, or of that id; Subscription.DoesNotExist where there is none."""
        app, slash, repository = name_or_id.partition("/")
        if slash:
            return self.get(app__name=app, repository__name=repository)
        try:
            return self.get(id=uuid.UUID(name_or_id))
        except ValueError:
            raise self.model.DoesNotExist from None

    def active(self) -> "SubscriptionQuerySet":
        return self.filter(is_active=True, app__is_active=True, repository__is_active=True)

    def due(self) -> "SubscriptionQuerySet":
        """Those that want a run now and have no wake-up on its way."""
        return self.active().without_wake_up().filter(due_at__lte=Now())

    def share_of(self, subscription_id: uuid.UUID) -> tuple[uuid.UUID, bool] | None:
        """Whose slots its run takes: its app's, and bulk work's where an operation has released it. None: gone.

        In SQL: every wake-up asks this, and composing it in the ORM was a sixth of a worker's Python in a bulk.
        """
        with hot_cursor() as cursor:
            cursor.execute(SHARE_OF, [subscription_id])
            found: tuple[uuid.UUID, bool] | None = cursor.fetchone()
        return found

    def not_in_bulk(self) -> "SubscriptionQuerySet":
        return self.filter(~self._in_bulk())

    def _in_bulk(self) -> Exists:
        items = self.model._meta.get_field("operation_items").related_model._default_manager
        open_items = items.filter(status__in=("waiting", "running"), released_at__isnull=False)
        return Exists(open_items.filter(subscription=OuterRef("pk")))

    def released(self) -> "SubscriptionQuerySet":
        """Those that may be claimed for an operation, due or not; one that waits for its mirror is due then."""
        items = Q(operation_items__status="waiting", operation_items__released_at__isnull=False)
        ready = Q(awaits_fetch=False) | Q(due_at__lte=Now())
        return self.active().filter(items, ready).exclude(status=Status.SYNCING)

    def without_wake_up(self) -> "SubscriptionQuerySet":
        """None was sent, or it counts as lost."""
        lost = Now() - timedelta(seconds=settings.REQUEUE_AFTER)
        return self.filter(Q(queued_at=None) | Q(queued_at__lt=lost))

    def claim(self, subscription_id: uuid.UUID, *, token: uuid.UUID, run_id: uuid.UUID, worker: str) -> Claimed | None:
        """pending or failed, and due → syncing, with a lease and an open run. Also synced, where an operation asks.

        Attaches the operation's item that is released for it, whoever sent the wake-up: a retry begins its counting
        anew, a re-sync forgets the ledger (once). In SQL: conditions on several tables must be looked at again when a
        rival has just changed a row, and run and counts have to move in the same statement.
        """
        row = fetch_one(claim_sql(), {"id": subscription_id, **_claimant(token, run_id, worker)})
        return claimed_from(row) if row else None

    def claim_next_released(
        self,
        *,
        token: uuid.UUID,
        run_id: uuid.UUID,
        worker: str,
        barred: Sequence[uuid.UUID] = (),
        shards: Sequence[int] | None = None,
    ) -> Claimed | None:
        """The same for the longest released item of any operation.

        Not one of the apps `barred`; `shards` are those whose repositories are wanted, None for all.
        """
        choice = {
            "barred": list(barred),
            "shards": None if shards is None else list(shards),
            "queues": settings.SYNC_QUEUES,
        }
        row = fetch_one(claim_sql(next_released=True), {**choice, **_claimant(token, run_id, worker)})
        return claimed_from(row) if row else None

    def complete(
        self,
        subscription_id: uuid.UUID,
        *,
        token: uuid.UUID,
        snapshot_id: int | None,
        epoch: int,
        run_id: uuid.UUID,
        head_moved_at: datetime | None = None,
        **record: Any,
    ) -> Completed | None:
        """syncing → synced: the app has everything of the snapshot. With run_again → pending, due now.

        The same where the repository's head has moved since `head_moved_at`, which is what the run has read of it.
        Ends the run with its `record`, and settles the operation's item that it was for, in the same statement. None
        where the lease is no longer ours.
        """
        values = dict.fromkeys(("from_commit", "to_commit"), "") | dict.fromkeys(RECORD[2:], 0) | record
        values |= {"subscription": subscription_id, "token": token, "snapshot": snapshot_id, "epoch": epoch}
        row = fetch_one(complete_sql(), {**values, "run": run_id, "head_moved_at": head_moved_at})
        return completed_from(row) if row else None

    def postpone(
        self, subscription_id: uuid.UUID, *, token: uuid.UUID, failure: Failure, delay: float, at_least: float = 0
    ) -> bool:
        """syncing → pending, due in `delay` seconds; with run_again in `at_least` seconds."""
        due_at = Case(
            When(run_again=True, then=Now() + timedelta(seconds=at_least)), default=Now() + timedelta(seconds=delay)
        )
        return self._settle(subscription_id, token, status=Status.PENDING, due_at=due_at, **_failing(failure))

    def fail(self, subscription_id: uuid.UUID, *, token: uuid.UUID, failure: Failure, delay: float | None) -> bool:
        """syncing → failed; the slow try is due in `delay` seconds, or never by itself. With run_again → pending."""
        slow = None if delay is None else Now() + timedelta(seconds=delay)
        return self._settle(
            subscription_id,
            token,
            status=Case(When(run_again=True, then=Value(Status.PENDING)), default=Value(Status.FAILED)),
            failed_at=Case(
                When(run_again=True, then=F("failed_at")),
                When(error_kind=failure.kind, then=Coalesce("failed_at", Now())),
                default=Now(),
            ),
            due_at=Case(When(run_again=True, then=Now()), default=slow),
            **_failing(failure),
        )

    def hand_back(
        self, subscription_id: uuid.UUID, *, token: uuid.UUID, delay: float = 0, awaits_fetch: bool = False
    ) -> bool:
        """syncing → pending as if it had not been claimed, due in `delay` seconds."""
        due_at = Now() + timedelta(seconds=delay)
        return self._release(subscription_id, token, status=Status.PENDING, due_at=due_at, awaits_fetch=awaits_fetch)

    def lease_is_over(self) -> list[uuid.UUID]:
        """Some whose worker has not renewed its lease in time."""
        over = self.filter(status=Status.SYNCING, lease_expires_at__lt=Now())
        return list(over.order_by("id").values_list("id", flat=True)[:EXPIRE_BATCH])

    def expire(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """syncing → pending for each of these whose lease is over; their ids."""
        return [
            id
            for id in ids
            if self.filter(id=id, status=Status.SYNCING, lease_expires_at__lt=Now()).update(
                status=Status.PENDING, due_at=Now(), lease_token=None, lease_expires_at=None
            )
        ]

    def in_order(self) -> list[uuid.UUID]:
        """Locks these until the transaction ends, in the order of their ids, as whatever locks several does."""
        # Not against rows that refer to them: items are frozen in no order.
        locked = self.order_by("id").select_for_update(of=("self",), no_key=True)
        return list(locked.values_list("id", flat=True))

    @transaction.atomic
    def request(self, trigger: Trigger, *, asked_by: str = "", allow_deletes: bool = False) -> list["Subscription"]:
        """Asks for a run of each: never a conflict. One that is syncing runs again after its end.

        Returns those (id, repository_id) that a wake-up must be sent for. An allowance of deletes is for the run this
        asks for: one that runs now does not have it.
        """
        syncing = Q(status=Status.SYNCING)
        queued = Q(queued_at__gte=Now() - timedelta(seconds=settings.REQUEUE_AFTER))
        ids = self.in_order()
        wanted = self.model._default_manager.filter(id__in=ids)
        # A poll adds nothing to a run that somebody already waits for.
        next_run = Q(status=Status.PENDING) | Q(syncing, run_again=True)
        waited_for = next_run & Q(trigger__in=[t for t in Trigger if t.asked_for])
        keeps = Q(pk=None) if trigger.asked_for else waited_for
        values: dict[str, Any] = {
            "status": Case(When(syncing, then=F("status")), default=Value(Status.PENDING)),
            "run_again": Case(When(syncing, then=True), default=F("run_again")),
            "due_at": Case(When(syncing, then=None), default=Least(Coalesce("due_at", Now()), Now())),
            "trigger": Case(When(keeps, then=F("trigger")), default=Value(trigger)),
            "asked_by": Case(When(keeps, then=F("asked_by")), default=Value(asked_by[:150])),
            "asked_at": Now(),
            "awaits_fetch": False,
        }
        if allow_deletes:
            values["allow_deletes"] = True
        wake = list(wanted.exclude(syncing).exclude(queued).active().only("id", "repository_id"))
        wanted.update(**values)
        queue = self.model._default_manager.filter(id__in=[s.id for s in wake])
        queue.exclude(syncing).update(queued_at=Now())  # a rival may have claimed it since
        return wake

    def idle(self) -> "SubscriptionQuerySet":
        """Those that are neither syncing nor queued: only these can be retried or re-synced."""
        queued = Q(queued_at__gte=Now() - timedelta(seconds=settings.REQUEUE_AFTER))
        return self.exclude(status=Status.SYNCING).exclude(queued)

    def retry(self, subscription_id: uuid.UUID, *, asked_by: str) -> bool:
        """failed, or pending in its back-off → pending, due now, as if it had never failed."""
        waiting = Q(status=Status.FAILED) | Q(status=Status.PENDING)
        return self.idle().filter(waiting, id=subscription_id).update(**_asked_now(Trigger.RETRY, asked_by)) == 1

    def resync(self, subscription_id: uuid.UUID, *, asked_by: str) -> bool:
        """Any but syncing → pending, due now, with a ledger that is forgotten: all is sent again."""
        asked = _asked_now(Trigger.RESYNC, asked_by)
        return self.idle().filter(id=subscription_id).update(epoch=F("epoch") + 1, **asked) == 1

    @transaction.atomic
    def circuit_closed(self) -> int:
        """Pending ones that waited for a cool-down's end are due within a few seconds, not all at once."""
        waiting = self.filter(status=Status.PENDING, due_at__gt=Now())
        return waiting.filter(id__in=waiting.in_order()).update(
            due_at=Least(F("due_at"), Now() + Random() * timedelta(seconds=CIRCUIT_CLOSED_SPREAD))
        )

    @transaction.atomic
    def fetch_ended(self) -> list["Subscription"]:
        """Those whose runs found their mirror being fetched are due now; returns them (id, repository_id)."""
        waiting = self.filter(status=Status.PENDING, awaits_fetch=True).only("id", "repository_id")
        found = list(waiting.order_by("id").select_for_update(of=("self",), no_key=True))
        if found:
            known = self.model._default_manager.filter(id__in=[s.id for s in found])
            known.update(due_at=Now(), awaits_fetch=False, queued_at=Now())
        return found

    def renew(self, tokens: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Lengthens these leases by LEASE_SECONDS, in one UPDATE; those that are still held."""
        with connection.cursor() as cursor:
            cursor.execute(
                """WITH held AS (
                     SELECT id FROM syncsvc_subscription WHERE lease_token = ANY(%s) AND status = 'syncing'
                     ORDER BY id FOR NO KEY UPDATE
                   )
                   UPDATE syncsvc_subscription s
                   SET lease_expires_at = statement_timestamp() + make_interval(secs => %s)
                   FROM held WHERE s.id = held.id RETURNING lease_token""",
                [list(tokens), settings.LEASE_SECONDS],
            )
            return {token for (token,) in cursor.fetchall()}

    def end_leases(self, tokens: Sequence[uuid.UUID]) -> int:
        """Lets these leases run out now."""
        held = self.filter(lease_token__in=tokens, status=Status.SYNCING)
        with transaction.atomic():
            return held.filter(id__in=held.in_order()).update(lease_expires_at=Now())

    def mark_queued(self, ids: Iterable[uuid.UUID]) -> int:
        return self.filter(id__in=list(ids)).update(queued_at=Now())

    def _settle(self, subscription_id: uuid.UUID, token: uuid.UUID, **values: Any) -> bool:
        """A run's own end: what was allowed to it ends as well, unless it was allowed to the run that comes next."""
        allowance = Case(When(run_again=True, then=F("allow_deletes")), default=Value(False))
        return self._release(subscription_id, token, allow_deletes=allowance, **values)

    def _release(self, subscription_id: uuid.UUID, token: uuid.UUID, **values: Any) -> bool:
        held = self.filter(id=subscription_id, lease_token=token, status=Status.SYNCING)
        return held.update(lease_token=None, lease_expires_at=None, run_again=False, **values) == 1


def _claimant(token: uuid.UUID, run_id: uuid.UUID, worker: str) -> dict[str, Any]:
    return {"token": token, "lease": settings.LEASE_SECONDS, "run": run_id, "worker": worker[:100]}


def _asked_now(trigger: Trigger, asked_by: str) -> dict[str, Any]:
    return {
        "status": Status.PENDING,
        "due_at": Now(),
        "queued_at": Now(),
        "asked_at": Now(),
        "trigger": trigger,
        "asked_by": asked_by[:150],
        "retry_count": 0,
        "error_kind": "",
        "last_error": "",
        "failed_at": None,
        "awaits_fetch": False,
    }


def _failing(failure: Failure) -> dict[str, Any]:
    next_run = {
        # A run that was asked for meanwhile keeps what asked for it.
        "trigger": Case(When(run_again=True, then=F("trigger")), default=Value(Trigger.BACK_OFF)),
        "asked_by": Case(When(run_again=True, then=F("asked_by")), default=Value("")),
    }
    return {
        **next_run,
        "error_kind": failure.kind,
        "last_error": failure.error[:2000],
        "retry_count": failure.retry_count,
        "failing_since": Coalesce("failing_since", Now()),
        "approved_commit": failure.approved_commit,
        "approved_deletes": failure.approved_deletes,
    }
