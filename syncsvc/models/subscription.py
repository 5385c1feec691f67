"""One app following one repository: the unit that is queued, run, retried and re-synced."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Greatest, Least, Now, Random
from django.db.models.lookups import LessThanOrEqual

from syncsvc.ids import uuid_of
from syncsvc.models.error import error_kind_field, error_kind_known
from syncsvc.models.run import Trigger, runs_at
from syncsvc.models.status import ACTIVE, Failure, Status, is_held, is_retrying, is_throttled, queued
from syncsvc.types import ErrorKind

# The end of an outage makes back-offs due within so many seconds.
OUTAGE_ENDED_SPREAD = 5
EXPIRE_BATCH = 500
# The run may take long: the endpoint or the remote failed last, or the remote was never reached. As IS_DOUBTFUL in SQL.
DOUBTFUL = Q(app__failure_streak__gt=0) | Q(repository__failure_streak__gt=0) | Q(repository__checked_at=None)
# A throttled app takes no run until then, and none while another run goes first.
_THROTTLE_ENDS = Greatest("app__throttled_until", "app__probe_until")
_IS_OVER = Q(LessThanOrEqual(_THROTTLE_ENDS, Now()))
NOT_THROTTLED = Q(app__throttled_until=None) | _IS_OVER
# Its last wake-up came while the app took no run, and found nothing to do.
WOKEN_IN_THROTTLE = Q(app__throttled_until__isnull=False) & _IS_OVER & Q(queued_at__lte=_THROTTLE_ENDS)


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Each verb is one conditional UPDATE and says whether it won, so that any number of workers may try."""

    def named(self, name_or_id: str) -> "Subscription":
        """The subscription `APP/REPOSITORY`, or of that id; Subscription.DoesNotExist where there is none."""
        app, slash, repository = name_or_id.partition("/")
        if slash:
            return self.get(app__name=app, repository__name=repository)
        if subscription_id := uuid_of(name_or_id):
            return self.get(id=subscription_id)
        raise self.model.DoesNotExist

    def active(self) -> "SubscriptionQuerySet":
        return self.filter(ACTIVE)

    def due(self) -> "SubscriptionQuerySet":
        """Subscriptions that want a run now and have no wake-up on its way."""
        return self.active().without_wake_up().claimable()

    def claimable(self) -> "SubscriptionQuerySet":
        """Subscriptions that are due, and whose endpoint takes a run. Only a forecast: the claim itself decides."""
        due = self.filter(due_at__lte=Now(), status__in=(Status.PENDING, Status.FAILED))
        return due.filter(NOT_THROTTLED | Q(trigger=Trigger.RETRY))

    def not_in_bulk(self) -> "SubscriptionQuerySet":
        """Subscriptions without an item in flight in any operation."""
        return self.exclude(operation_items__released_at__isnull=False)

    def released(self) -> "SubscriptionQuerySet":
        """Subscriptions that may be claimed for an operation, due or not; one that awaits a fetch must be due."""
        items = Q(operation_items__status="waiting", operation_items__released_at__isnull=False)
        ready = Q(awaits_fetch=False) | Q(due_at__lte=Now())
        return self.active().filter(NOT_THROTTLED, items, ready).exclude(status=Status.SYNCING)

    def without_wake_up(self) -> "SubscriptionQuerySet":
        """Subscriptions to which no wake-up was sent, or one that counts as lost."""
        return self.filter(~queued() | WOKEN_IN_THROTTLE)

    def postpone(
        self, subscription_id: uuid.UUID, *, token: uuid.UUID, failure: Failure, delay: float, at_least: float = 0
    ) -> bool:
        """syncing → pending, due in `delay` seconds; with run_again in `at_least` seconds."""
        soon = Now() + timedelta(seconds=at_least)
        due_at = Case(When(run_again=True, then=soon), default=Now() + timedelta(seconds=delay))
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

    def request_stop(self) -> int:
        """Asks the runs of these that go on to stop, which they do within seconds; how many go on."""
        return self.filter(status=Status.SYNCING).update(stop_requested_at=Now())

    def stop(self, subscription_id: uuid.UUID, *, token: uuid.UUID, error: str, delay: float) -> bool:
        """syncing → pending until the next change, a retry, or the slow try in `delay` seconds."""
        due_at = Case(When(run_again=True, then=Now()), default=Now() + timedelta(seconds=delay))
        return self._settle(
            subscription_id,
            token,
            status=Status.PENDING,
            due_at=due_at,
            last_error=error[:2000],
            trigger=Case(When(run_again=True, then=F("trigger")), default=Value(Trigger.BACK_OFF)),
        )

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

    def stay_stopped(self, ids: Sequence[uuid.UUID], *, error: str, delay: float) -> list[uuid.UUID]:
        """Of these, whose leases have just ended, those that an operator had asked to stop wait as after a stop."""
        stopped = self.filter(id__in=ids, status=Status.PENDING, stop_requested_at__isnull=False)
        found = list(stopped.order_by("id").values_list("id", flat=True))
        due_at = Case(When(run_again=True, then=Now()), default=Now() + timedelta(seconds=delay))
        self.filter(id__in=found).update(stop_requested_at=None, due_at=due_at, last_error=error)
        return found

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
        ids = self.in_order()
        wanted = Subscription.objects.filter(id__in=ids)
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
        wake = list(wanted.exclude(syncing).exclude(queued()).active().only("id", "repository_id"))
        wanted.update(**values)
        queue = Subscription.objects.filter(id__in=[s.id for s in wake])
        queue.exclude(syncing).update(queued_at=Now())  # a rival may have claimed it since
        return wake

    def idle(self) -> "SubscriptionQuerySet":
        """Subscriptions that are neither syncing nor queued: only these can be retried or re-synced."""
        return self.exclude(status=Status.SYNCING).exclude(queued())

    def retry(self, subscription_id: uuid.UUID, *, asked_by: str) -> bool:
        """failed, or pending in its back-off → pending, due now, as if it had never failed."""
        waiting = Q(status=Status.FAILED) | Q(status=Status.PENDING)
        return self.idle().filter(waiting, id=subscription_id).update(**_asked_now(Trigger.RETRY, asked_by)) == 1

    def resync(self, subscription_id: uuid.UUID, *, asked_by: str) -> bool:
        """Any but syncing → pending, due now, with a ledger that is forgotten: all is sent again."""
        asked = _asked_now(Trigger.RESYNC, asked_by)
        return self.idle().filter(id=subscription_id).update(epoch=F("epoch") + 1, old_url_files=0, **asked) == 1

    @transaction.atomic
    def outage_ended(self, kinds: Iterable[ErrorKind]) -> int:
        """Makes back-offs and slow tries after errors of these kinds due within a few seconds, spread; how many."""
        later = self.filter(status__in=(Status.PENDING, Status.FAILED), due_at__gt=Now())
        waiting = later.filter(error_kind__in=list(kinds))
        soon = Least(F("due_at"), Now() + Random() * timedelta(seconds=OUTAGE_ENDED_SPREAD))
        return waiting.filter(id__in=waiting.in_order()).update(due_at=soon)

    @transaction.atomic
    def give_up_on_throttled(self, delay: float | None) -> int:
        """throttled → failed: nothing was taken for too long. The slow try is due in `delay` seconds."""
        throttled = self.filter(status=Status.PENDING, error_kind=ErrorKind.ENDPOINT_THROTTLED)
        slow = None if delay is None else Now() + timedelta(seconds=delay)
        return throttled.filter(id__in=throttled.in_order()).update(
            status=Status.FAILED, failed_at=Now(), failing_since=Coalesce("failing_since", Now()), due_at=slow
        )

    @transaction.atomic
    def fetch_ended(self) -> list["Subscription"]:
        """Makes due now the subscriptions that await the end of a fetch; returns them (id, repository_id)."""
        waiting = self.filter(status=Status.PENDING, awaits_fetch=True).only("id", "repository_id")
        found = list(waiting.order_by("id").select_for_update(of=("self",), no_key=True))
        if found:
            known = Subscription.objects.filter(id__in=[s.id for s in found])
            known.update(due_at=Now(), awaits_fetch=False, queued_at=Now())
        return found

    def end_leases(self, tokens: Sequence[uuid.UUID]) -> int:
        """Lets these leases run out now."""
        held = self.filter(lease_token__in=tokens, status=Status.SYNCING)
        with transaction.atomic():
            return held.filter(id__in=held.in_order()).update(lease_expires_at=Now())

    @transaction.atomic
    def wake_ups_are_lost(self) -> int:
        """Has the sweep wake these again where a wake-up may have found nothing to do; how many."""
        queued = self.filter(queued_at__isnull=False).exclude(status=Status.SYNCING)
        return queued.filter(id__in=queued.in_order()).update(queued_at=None)

    def mark_queued(self, ids: Iterable[uuid.UUID]) -> int:
        return self.filter(id__in=list(ids)).update(queued_at=Now())

    def _settle(self, subscription_id: uuid.UUID, token: uuid.UUID, **values: Any) -> bool:
        """A run's own end: what was allowed to it ends as well, unless it was allowed to the run that comes next."""
        allowance = Case(When(run_again=True, then=F("allow_deletes")), default=Value(False))
        return self._release(subscription_id, token, allow_deletes=allowance, **values)

    def _release(self, subscription_id: uuid.UUID, token: uuid.UUID, **values: Any) -> bool:
        held = self.filter(id=subscription_id, lease_token=token, status=Status.SYNCING)
        ended = {"lease_token": None, "lease_expires_at": None, "run_again": False, "stop_requested_at": None}
        return held.update(**ended, **values) == 1


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
        "failing_since": Coalesce("failing_since", Now()) if failure.is_failing else F("failing_since"),
        "approved_commit": failure.approved_commit,
        "approved_deletes": failure.approved_deletes,
    }


class Subscription(models.Model):
    """One App following one Repository: how far it is, what it waits for, and what went wrong last."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey("syncsvc.App", on_delete=models.DB_CASCADE, related_name="subscriptions")
    repository = models.ForeignKey("syncsvc.Repository", on_delete=models.DB_CASCADE, related_name="subscriptions")
    is_active = models.BooleanField("active", default=True, help_text="Off: paused. Nothing is lost, nothing is sent.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING, editable=False)
    # When it wants a run; null while it runs, and where it wants none.
    due_at = models.DateTimeField(null=True, db_default=Now(), editable=False)
    # A wake-up was sent then; one older than REQUEUE_AFTER counts as lost.
    queued_at = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    # An operator wants the run that goes on to stop.
    stop_requested_at = models.DateTimeField(null=True, editable=False)
    # Somebody asked while it ran: its end makes it pending, due now.
    run_again = models.BooleanField(default=False, editable=False)
    # Its run found the mirror being fetched: the end of that fetch makes it due.
    awaits_fetch = models.BooleanField(default=False, editable=False)
    # What asked for the run that comes next, who, and when.
    trigger = models.CharField(max_length=12, choices=Trigger, default=Trigger.SUBSCRIBED, editable=False)
    asked_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    asked_at = models.DateTimeField(db_default=Now(), editable=False)

    # Quick tries that were used up in a row.
    retry_count = models.PositiveIntegerField(default=0, editable=False)
    error_kind = error_kind_field(editable=False)
    last_error = models.TextField(blank=True, default="", editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    # Since when it has been failed with this kind of error. A preview's set is those that had failed by then.
    failed_at = models.DateTimeField(null=True, editable=False)
    # The app was told of this streak of failures.
    failure_notified = models.BooleanField(default=False, editable=False)
    last_success_at = models.DateTimeField(null=True, editable=False)

    # Files that the app acknowledged at a URL which it has left since; 0 after a re-sync, or when dismissed.
    old_url_files = models.PositiveIntegerField(default=0, db_default=0, editable=False)

    epoch = models.PositiveIntegerField(default=1, editable=False)
    # The last snapshot that the app had whole, for people to see.
    snapshot = models.ForeignKey(
        "syncsvc.Snapshot", on_delete=models.DB_SET_NULL, null=True, editable=False, related_name="+"
    )
    # The ledger is exactly this snapshot's files, none in doubt, provided clean_epoch is epoch and clean_selection is
    # the digest of what decides which files are sent. Null: look at each row.
    clean_snapshot = models.ForeignKey(
        "syncsvc.Snapshot", on_delete=models.DB_SET_NULL, null=True, editable=False, related_name="+"
    )
    clean_epoch = models.PositiveIntegerField(default=0, editable=False)
    clean_selection = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)

    # A mass delete may go out: for the next run whatever it finds, or for this commit and no more deletes than these.
    allow_deletes = models.BooleanField(default=False, editable=False)
    approved_commit = models.CharField(max_length=64, blank=True, default="", editable=False)
    approved_deletes = models.PositiveIntegerField(default=0, editable=False)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ("app__name", "repository__name")
        constraints = (
            models.UniqueConstraint(fields=["app", "repository"], name="subscription_once"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="subscription_status_known"),
            models.CheckConstraint(
                condition=(Q(status=Status.SYNCING) & Q(lease_token__isnull=False, lease_expires_at__isnull=False))
                | (~Q(status=Status.SYNCING) & Q(lease_token=None, lease_expires_at=None)),
                name="subscription_lease_while_syncing",
            ),
            models.CheckConstraint(
                condition=(Q(status=Status.PENDING, due_at__isnull=False))
                | Q(status__in=[Status.SYNCING, Status.SYNCED], due_at=None)
                | Q(status=Status.FAILED),
                name="subscription_due_when_pending",
            ),
            error_kind_known("subscription"),
        )
        indexes = (
            # The sweep's due query.
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="subscription_due"),
            # The sweep of leases that ran out; renewal.
            models.Index(fields=["lease_expires_at"], condition=Q(status="syncing"), name="subscription_leased"),
            models.Index(fields=["lease_token"], condition=Q(status="syncing"), name="subscription_lease_token"),
            # Failures by cause; counts by status.
            models.Index(fields=["status", "error_kind"], name="subscription_status"),
        )
        permissions = (
            ("retry_subscription", "Can retry a subscription"),
            ("resync_subscription", "Can re-sync a subscription"),
        )

    def __str__(self) -> str:
        return f"{self.app.name}/{self.repository.name}"

    @property
    def is_retrying(self) -> bool:
        return is_retrying(self.status, self.error_kind)

    @property
    def is_throttled(self) -> bool:
        return is_throttled(self.status, self.error_kind, app_is_throttled=self.app.is_throttled)

    @property
    def is_held(self) -> bool:
        return is_held(self.status, self.error_kind)

    @property
    def awaits_first_commit(self) -> bool:
        return self.status == Status.SYNCED and self.snapshot_id is None and self.clean_epoch == self.epoch

    @property
    def runs_at(self) -> datetime | None:
        """When its next run may begin: it is due, and the endpoint takes requests. None where it wants no run."""
        return runs_at(self.due_at, self.trigger, self.app.throttle_lasts_until)

    @property
    def paused(self) -> bool:
        return not (self.is_active and self.app.is_active and self.repository.is_active)

    @property
    def ledger_is_clean(self) -> bool:
        return self.clean_snapshot_id is not None and self.clean_epoch == self.epoch
