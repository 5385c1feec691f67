"""What the page of failures shows: causes with their bars, and rows that stay where they are while they change."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Concat
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from syncsvc.admin import kept as shared
from syncsvc.admin.operation_bar import Bar, bar
from syncsvc.ids import uuid_of
from syncsvc.models import Status, Subscription
from syncsvc.models.hosts import cause_host
from syncsvc.models.status import FAILING, RETRYING
from syncsvc.statistics.failures import failing_numbers

NAME = "failing"
PAGE = 40
# Rows that a tab asks for again by their ids, in an address that servers take.
KEPT = 60
NO_HOST = "-"


def numbers() -> dict[str, Any]:
    """The numbers of the page, read once for all tabs."""
    found: dict[str, Any] = json.loads(shared.kept(NAME, lambda: json.dumps(failing_numbers())))
    return found


def forget_numbers() -> None:
    """Has the numbers read again, because an operator has just asked for something on this page."""
    shared.forget(NAME)


def may_be_repaired() -> bool:
    """True where an operation may be retrying some of the failures, by the numbers that are kept."""
    known = shared.known(NAME)
    return known is None or bool(json.loads(known)["operations"])


def causes(known: Mapping[str, Any], *, bars: bool) -> list[dict[str, Any]]:
    """The causes, each with the bars of operations that retry it; a cause without failures stays while it has a bar."""
    found = {(row["error_kind"], row["host"]): _cause(row) for row in known["causes"]}
    for operation in known["operations"] if bars else ():
        scope = operation["scope"]
        if scope.keys() != {"kind", "error_kind", "host"} or not (shown := bar(uuid.UUID(operation["id"]))):
            continue
        key = (scope["error_kind"], scope["host"])
        empty = {
            "error_kind": key[0],
            "host": key[1],
            "failed": 0,
            "retrying": 0,
            "retrying_paused": 0,
            "apps": 0,
            "since": None,
        }
        found.setdefault(key, _cause({**empty, "example": ""}))["bars"].append(shown)
    return list(found.values())


def bars_of_all(known: Mapping[str, Any]) -> list[Bar]:
    """Bars of the operations that retry all failures."""
    ids = [operation["id"] for operation in known["operations"] if operation["scope"].keys() == {"kind"}]
    return [shown for id in ids if (shown := bar(uuid.UUID(id)))]


def _cause(row: Mapping[str, Any]) -> dict[str, Any]:
    since = row["since"] and datetime.fromisoformat(row["since"])
    name = f"{row['error_kind']}@{row['host']}"
    retry = reverse("admin:failures_retry_cause", args=[row["error_kind"] or "none", row["host"] or NO_HOST])
    listed = f"?{urlencode({'cause': name})}#list"
    return {**row, "since": since, "name": name, "bars": [], "retry_url": retry, "listed": listed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """As the address has them; what is no filter of ours, or not well formed, is none."""

    cause: str = ""
    app: uuid.UUID | None = None
    repository: uuid.UUID | None = None
    state: str = ""
    search: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> "Filters":
        state = query.get("state", "")
        return cls(
            cause=query.get("cause", "") if "@" in query.get("cause", "") else "",
            app=uuid_of(query.get("app", "")),
            repository=uuid_of(query.get("repository", "")),
            state=state if state in ("failed", "retrying") else "",
            search=query.get("q", "").strip()[:200],
        )

    @property
    def any(self) -> bool:
        return any((self.cause, self.app, self.repository, self.state, self.search))

    def condition(self) -> Q:
        found = FAILING
        if self.state:
            found &= Q(status=Status.FAILED) if self.state == "failed" else RETRYING
        if self.cause:
            kind, _, host = self.cause.partition("@")
            found &= Q(error_kind=kind, host=host)
        if self.app:
            found &= Q(app_id=self.app)
        if self.repository:
            found &= Q(repository_id=self.repository)
        if self.search:
            found &= Q(full_name__icontains=self.search)
        return found


@dataclass(frozen=True, slots=True)
class Listed:
    """`next` is the cursor of the page that follows, blank at the end."""

    rows: list[Subscription]
    next: str

    @property
    def ids(self) -> str:
        return ",".join(str(row.pk) for row in self.rows[:KEPT])

    def version(self, *, moves: bool) -> str:
        """Another one means that the rows look otherwise; by the minute, as their times do."""
        rows = [(row.pk, row.status, row.error_kind, row.retry_count, row.due_at, row.paused) for row in self.rows]
        shown = repr((rows, self.next, moves, timezone.now().strftime("%H%M")))
        return hashlib.blake2b(shown.encode(), digest_size=8).hexdigest()


def listed(filters: Filters, *, after: str = "", kept: Sequence[uuid.UUID] = (), following: str = "") -> Listed:
    """The page after a cursor, newest failures first; or the rows of before where they were, whatever became of them.

    With `kept`, what has failed since stands above them; `following` is then the next page's cursor.
    """
    condition = filters.condition() & _older_than(after)
    rows = _rows(condition | Q(pk__in=kept), kept)
    if not kept:
        page = list(rows[: PAGE + 1])
        return Listed(page[:PAGE], _cursor(page[PAGE - 1]) if len(page) > PAGE else "")
    found = list(rows[: len(kept) + PAGE])
    before = [row for row in found if row.pk in set(kept)]
    newest = max((_since(row) for row in before if row.failing_since), default=None)
    new = [row for row in found[len(before) :] if not after and (newest is None or _since(row) > newest)]
    before.sort(key=lambda row: kept.index(row.pk))
    return Listed([*new, *before], following)


def _rows(condition: Q, kept: Sequence[uuid.UUID]) -> QuerySet[Subscription]:
    kept_first = Case(When(pk__in=kept, then=0), default=1, output_field=IntegerField())
    named = Subscription.objects.alias(
        full_name=Concat("app__name", Value("/"), "repository__name"), host=cause_host()
    ).annotate(since=Coalesce("failing_since", "created_at"))
    found: QuerySet[Subscription] = named.filter(condition).select_related("app", "repository")
    return found.order_by(*[kept_first] if kept else [], F("since").desc(), "pk")


def _since(row: Subscription) -> datetime:
    since: datetime = getattr(row, "since")  # noqa: B009 - annotated above
    return since


def _cursor(row: Subscription) -> str:
    return f"{_since(row).isoformat()}_{row.pk}"


def _older_than(cursor: str) -> Q:
    moment, _, id = cursor.partition("_")
    try:
        since = datetime.fromisoformat(moment)
    except ValueError:
        return Q()
    return Q(since__lt=since) | Q(since=since, pk__gt=uuid_of(id) or uuid.UUID(int=0))


def ids_of(text: str) -> list[uuid.UUID]:
    return [id for part in text.split(",")[:KEPT] if (id := uuid_of(part))]
