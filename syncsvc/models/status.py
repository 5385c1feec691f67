"""A subscription's statuses, the table of their transitions, and what a failed run leaves behind."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.types import ErrorKind


class Status(models.TextChoices):
    PENDING = "pending"
    SYNCING = "syncing"
    SYNCED = "synced"
    FAILED = "failed"


THROTTLED_KIND = ErrorKind.ENDPOINT_THROTTLED
HELD_KIND = ErrorKind.MASS_DELETE_HELD


def is_retrying(status: str, error_kind: str) -> bool:
    """The last run failed, and the next try comes by itself or goes on."""
    return status in (Status.PENDING, Status.SYNCING) and error_kind not in ("", THROTTLED_KIND)


def is_throttled(status: str, error_kind: str, *, app_is_throttled: bool) -> bool:
    """The endpoint asked for fewer requests, and the next run begins when its wait is over."""
    return status == Status.PENDING and (error_kind == THROTTLED_KIND or (error_kind == "" and app_is_throttled))


def is_held(status: str, error_kind: str) -> bool:
    """A run would delete most of what the app has, and waits for somebody's approval."""
    return status == Status.FAILED and error_kind == HELD_KIND


# These conditions for the ORM, and in SQL about a subscription `s`, its app `a` and its repository `r`; a test compares
# the forms.
THROTTLED = Q(status=Status.PENDING) & (
    Q(error_kind=THROTTLED_KIND) | Q(error_kind="", app__throttled_until__isnull=False)
)
THROTTLED_SQL = (
    f"s.status = 'pending' AND (s.error_kind = '{THROTTLED_KIND}'"
    " OR s.error_kind = '' AND a.throttled_until IS NOT NULL)"
)
RETRYING = Q(status__in=(Status.PENDING, Status.SYNCING)) & ~Q(error_kind__in=("", THROTTLED_KIND))
RETRYING_SQL = f"s.status IN ('pending', 'syncing') AND s.error_kind NOT IN ('', '{THROTTLED_KIND}')"
# Failed for good, or retrying.
FAILING = Q(status=Status.FAILED) | RETRYING
FAILING_SQL = f"(s.status = 'failed' OR {RETRYING_SQL})"
HELD = Q(status=Status.FAILED, error_kind=HELD_KIND)
HELD_SQL = f"(s.status = 'failed' AND s.error_kind = '{HELD_KIND}')"
# Neither the subscription nor its app nor its repository is paused.
ACTIVE = Q(is_active=True, app__is_active=True, repository__is_active=True)
ACTIVE_SQL = "(s.is_active AND a.is_active AND r.is_active)"
# A wake-up is on its way: one that was sent `requeue` seconds ago counts as lost. Null where none was sent.
QUEUED_SQL = "(s.queued_at >= statement_timestamp() - make_interval(secs => %(requeue)s))"
# The last run found a remote without any commit: the app has nothing, and nothing is wrong.
AWAITS_FIRST_COMMIT = Q(status=Status.SYNCED, snapshot=None, clean_epoch=F("epoch"))
AWAITS_FIRST_COMMIT_SQL = "s.status = 'synced' AND s.snapshot_id IS NULL AND s.clean_epoch = s.epoch"
# It was failing and somebody asked for a run: nothing has succeeded since. Neither retrying nor throttled.
ASKED_AGAIN_SQL = "(s.status IN ('pending', 'syncing') AND s.error_kind = '' AND s.failing_since IS NOT NULL)"
# The run that goes on has met failures already, which its end will say.
RUN_FAILS_SQL = (
    "(s.status = 'syncing' AND EXISTS (SELECT FROM syncsvc_syncrun x"
    " WHERE x.subscription_id = s.id AND x.outcome = '' AND x.failed > 0))"
)
# Somebody stopped its run: it waits for the next change, a retry or the slow try.
STOPPED_SQL = "(s.status = 'pending' AND s.error_kind = '' AND s.last_error <> '')"
# Until when a throttled app `a` takes no run: its wait goes on, or another run goes first. Null: it takes runs.
THROTTLE_ENDS_SQL = "greatest(a.throttled_until, a.probe_until)"
THROTTLE_LASTS_UNTIL_SQL = f"(CASE WHEN a.throttled_until IS NOT NULL THEN {THROTTLE_ENDS_SQL} END)"

# Every change of status there is, and the verb that makes it; "claim_released" is the claim of one that an operation
# has released. A test walks all pairs.
TRANSITIONS: dict[tuple[Status, Status], tuple[str, ...]] = {
    (Status.PENDING, Status.SYNCING): ("claim", "claim_released"),
    (Status.FAILED, Status.SYNCING): ("claim", "claim_released"),
    (Status.SYNCED, Status.SYNCING): ("claim_released",),
    (Status.SYNCING, Status.SYNCED): ("complete",),
    (Status.SYNCING, Status.PENDING): ("postpone", "hand_back", "stop", "expire", "complete", "fail"),
    (Status.SYNCING, Status.FAILED): ("fail",),
    (Status.SYNCED, Status.PENDING): ("request", "resync"),
    (Status.FAILED, Status.PENDING): ("request", "retry", "resync"),
    (Status.PENDING, Status.FAILED): ("give_up_on_throttled",),
    (Status.PENDING, Status.PENDING): ("request", "retry", "resync"),
    (Status.SYNCING, Status.SYNCING): ("request",),
}


def queued() -> Q:
    """A wake-up is on its way, as QUEUED_SQL says it; for a repository: a check that somebody asked for."""
    return Q(queued_at__gte=Now() - timedelta(seconds=settings.REQUEUE_AFTER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run did not get everything across. An approval of deletes lives on until the run that completes."""

    kind: ErrorKind
    error: str
    retry_count: int
    # False: nothing failed, the endpoint only asked for fewer requests.
    is_failing: bool = True
    approved_commit: str = ""
    approved_deletes: int = 0
