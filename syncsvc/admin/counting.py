"""How many subscriptions a row of a list has, and how they are: counted for the rows that are shown alone."""

from collections.abc import Mapping

from django.db.models import Count, Exists, F, IntegerField, JSONField, OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce, JSONObject

from syncsvc.models import Status, Subscription, SyncRun
from syncsvc.models.status import AWAITS_FIRST_COMMIT, RETRYING, THROTTLED_KIND

NONE: Mapping[str, int] = {
    **dict.fromkeys(
        ("total", "synced", "empty", "failed", "syncing", "retrying", "throttled", "asked_again", "failing_runs"), 0
    ),
    "old_url_files": 0,
}


_RUN_FAILS = Exists(SyncRun.objects.filter(subscription=OuterRef("pk"), outcome="", failed__gt=0))


def subscriptions_of(owner: str) -> Coalesce:
    """`owner` is app or repository. A join would be grouped as a whole before the first page is cut off."""
    own = Subscription.objects.order_by().filter(**{owner: OuterRef("pk")}).values(group=F(owner))
    return Coalesce(Subquery(own.values(n=Count("pk")), output_field=IntegerField()), Value(0))


def standing_of(owner: str) -> Subquery:
    """The counts of its subscriptions by which a row is called well or not, as NONE has them; null where it has none.

    `throttled` are those that wait for the endpoint, if that is throttled.
    """
    own = Subscription.objects.order_by().filter(**{owner: OuterRef("pk")}).values(group=F(owner))
    under_way = Q(status__in=(Status.PENDING, Status.SYNCING), error_kind="")
    counts = JSONObject(
        total=Count("pk"),
        synced=Count("pk", filter=Q(status=Status.SYNCED) & ~AWAITS_FIRST_COMMIT),
        empty=Count("pk", filter=AWAITS_FIRST_COMMIT),
        failed=Count("pk", filter=Q(status=Status.FAILED)),
        syncing=Count("pk", filter=Q(status=Status.SYNCING)),
        retrying=Count("pk", filter=RETRYING),
        throttled=Count("pk", filter=Q(status=Status.PENDING, error_kind__in=("", THROTTLED_KIND))),
        asked_again=Count("pk", filter=under_way & Q(failing_since__isnull=False)),
        failing_runs=Count("pk", filter=Q(status=Status.SYNCING) & ~RETRYING & Q(_RUN_FAILS)),
        old_url_files=Sum("old_url_files"),
    )
    return Subquery(own.annotate(counts=counts).values("counts"), output_field=JSONField())
