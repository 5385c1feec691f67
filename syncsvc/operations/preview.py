"""What a bulk operation would do, before it is asked for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.db.models import Count, F, OuterRef, Subquery

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, Snapshot
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.operations.scope import Scope
from syncsvc.store.clock import database_time
from syncsvc.words import counted

DIGEST_SALT = "syncsvc.operations.preview"
DIGEST_HOURS = 1
# Apps that a preview names; the rest are counted together.
SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`files` and `bytes` are what a re-sync would send; of a retry they are unknown, and 0."""

    scope: Scope
    at: datetime
    total: int
    by_app: dict[str, int]
    by_error: dict[str, int]
    skipped: dict[str, int]
    files: int
    bytes: int

    @property
    def digest(self) -> str:
        """A signed token; `start` with it can only do less than what was shown."""
        shown = {"scope": self.scope.data, "total": self.total, "files": self.files, "at": self.at.isoformat()}
        return signing.dumps(shown, salt=DIGEST_SALT, compress=True)

    @property
    def must_type_count(self) -> bool:
        return is_much(self.total, self.files)

    def json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "by_app": self.by_app,
            "by_error": self.by_error,
            "skipped": self.skipped,
            "files": self.files,
            "bytes": self.bytes,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """What a digest says was shown."""

    scope: Scope
    total: int
    files: int
    at: datetime

    @property
    def must_type_count(self) -> bool:
        return is_much(self.total, self.files)


def is_much(total: int, files: int) -> bool:
    """So much that a click is not enough: the count must be typed."""
    return total > settings.BULK_CONFIRM_OVER or files > settings.BULK_CONFIRM_OVER_FILES


def preview(scope: Scope) -> Preview:
    """A handful of grouped queries, however many subscriptions."""
    found = scope.qualifying()
    files, size = totals(scope, found)
    return Preview(
        scope=scope,
        at=database_time(),
        total=found.count(),
        by_app=_counts(found, "app__name"),
        by_error={kind or "none": n for kind, n in _counts(found, "error_kind").items()},
        skipped=_skipped(scope),
        files=files,
        bytes=size,
    )


def totals(scope: Scope, found: SubscriptionQuerySet) -> tuple[int, int]:
    """Files and bytes that a re-sync of these subscriptions would send; 0 and 0 for a retry, where nobody knows."""
    return (0, 0) if scope.kind == Operation.Kind.RETRY else whole(found)


def whole(found: SubscriptionQuerySet) -> tuple[int, int]:
    """Files and bytes of the newest snapshots of all repositories that these subscriptions follow."""
    newest = Snapshot.objects.filter(repository=OuterRef("repository_id")).order_by("-id")
    followed = (
        found.order_by()
        .values("repository_id")
        .annotate(
            apps=Count("id"), files=Subquery(newest.values("files")[:1]), bytes=Subquery(newest.values("bytes")[:1])
        )
    )
    known = [row for row in followed if row["files"] is not None]
    return sum(row["apps"] * row["files"] for row in known), sum(row["apps"] * row["bytes"] for row in known)


def read_digest(digest: str) -> Shown:
    """Refused where it is forged, or too old to be about what is there now."""
    try:
        shown = signing.loads(digest, salt=DIGEST_SALT, max_age=timedelta(hours=DIGEST_HOURS))
    except signing.SignatureExpired:
        raise Refused("conflict", "The preview is over an hour old; look at a new one.") from None
    except signing.BadSignature:
        raise Refused("invalid", "The digest is not one of ours; ask for a preview and send its digest.") from None
    return Shown(Scope.from_data(shown["scope"]), shown["total"], shown["files"], datetime.fromisoformat(shown["at"]))


def _counts(found: SubscriptionQuerySet, by: str) -> dict[str, int]:
    rows = list(found.order_by().values(key=F(by)).annotate(n=Count("id")).order_by("-n", "key"))
    counts = {row["key"]: row["n"] for row in rows[:SHOWN]}
    if rest := rows[SHOWN:]:  # no app has such a name
        counts[counted(len(rest), "other")] = sum(row["n"] for row in rest)
    return counts


def _skipped(scope: Scope) -> dict[str, int]:
    """Those in the scope that qualify but for a pause, by reason."""
    counts = scope.subscriptions().order_by()
    if scope.kind == Operation.Kind.RETRY:
        counts = counts.filter(status="failed")
    reasons = {
        "the app is paused": counts.filter(app__is_active=False),
        "the repository is paused": counts.filter(app__is_active=True, repository__is_active=False),
        "the subscription is paused": counts.filter(app__is_active=True, repository__is_active=True, is_active=False),
    }
    return {reason: n for reason, rows in reasons.items() if (n := rows.count())}
