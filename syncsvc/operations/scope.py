"""What a bulk operation is about: which subscriptions, as data, in words, and as rows."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qsl

from syncsvc.exceptions import Refused
from syncsvc.models import Operation, OperationItem, Status, Subscription
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.operations.conditions import CONDITIONS, Condition
from syncsvc.types import ErrorKind

# What an operation's row has room for.
WORDS_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Conditions that all must hold; without any: all.

    `host` is that of the endpoint, or of the repository where the error is one of git's; blank: one without a host.
    The fields behind it say what the subscriptions are chosen from. `ids`: a hand-picked selection. `failed_in`: an
    operation whose failed items are retried. `filters`: those of the console's list, as its address has them, and
    `rows` what the list then shows: all of it, without naming each. Rows are no data: whoever confirms brings them
    anew.
    """

    kind: Operation.Kind
    app_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    error_kind: ErrorKind | None = None
    host: str | None = None
    failed_in: uuid.UUID | None = None
    ids: Sequence[uuid.UUID] | None = field(default=None)
    filters: str | None = None
    rows: SubscriptionQuerySet | None = field(default=None, compare=False)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `data`; Refused where it is not well formed."""
        try:
            return cls(
                kind=Operation.Kind(data["kind"]),
                **{one.name: one.read(data[one.name]) for one in CONDITIONS if data.get(one.name) is not None},
                failed_in=uuid.UUID(data["failed_in"]) if data.get("failed_in") else None,
                ids=[uuid.UUID(id) for id in data["ids"]] if data.get("ids") is not None else None,
                filters=str(data["filters"]) if data.get("filters") is not None else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused("invalid", "The scope is not well formed; ask for a new preview.") from error

    @property
    def data(self) -> dict[str, Any]:
        values = {
            "kind": self.kind.value,
            **{condition.name: str(value) for condition, value in self.conditions},
            "failed_in": self.failed_in and str(self.failed_in),
            "ids": None if self.ids is None else [str(id) for id in self.ids],
            "filters": self.filters,
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def conditions(self) -> list[tuple[Condition, Any]]:
        """The conditions that are given, each with its value."""
        given = [(condition, getattr(self, condition.name)) for condition in CONDITIONS]
        return [(condition, value) for condition, value in given if value is not None]

    def with_rows_of(self, other: "Scope") -> "Scope":
        """This scope with the rows of the other one, where both have the same filters."""
        return replace(self, rows=other.rows) if self.filters == other.filters else self

    def subscriptions(self) -> SubscriptionQuerySet:
        """All it names, whatever their state."""
        found = Subscription.objects.all()
        if self.filters is not None:
            if self.rows is None:
                raise Refused("invalid", "This preview is of a list in the console; confirm it there.")
            found = self.rows.order_by().select_related(None)
        if self.ids is not None:
            found = found.filter(id__in=self.ids)
        if self.failed_in is not None:
            failed = OperationItem.objects.filter(operation_id=self.failed_in, status=OperationItem.Status.FAILED)
            found = found.filter(id__in=failed.values("subscription_id"))
        for condition, value in self.conditions:
            found = condition.narrow(found, value)
        return found

    def qualifying(self, *, at: datetime | None = None) -> SubscriptionQuerySet:
        """Those that would be taken: failed ones for a retry, any for a re-sync; with `at`, only if so then already."""
        found = self.subscriptions().active()
        if self.failed_in is not None:
            return found.exclude(status=Status.SYNCED)
        if self.kind == Operation.Kind.RETRY:
            found = found.filter(status=Status.FAILED)
            return found if at is None else found.filter(failed_at__lte=at)
        return found if at is None else found.filter(created_at__lte=at)

    def words(self) -> str:
        """For people: 'failed subscriptions of acme with endpoint_timeout'."""
        what = "failed subscriptions" if self.kind == Operation.Kind.RETRY else "subscriptions"
        if self.failed_in is not None:
            return f"what failed in operation {str(self.failed_in)[:8]}"
        parts = [f"{len(self.ids)} selected {what}" if self.ids is not None else f"all {what}"]
        parts += [condition.words(value) for condition, value in self.conditions]
        if self.filters is not None:
            parts.append(f"of the list{_filter_words(self.filters)}")
        return " ".join(parts)[:WORDS_LENGTH]


def _filter_words(filters: str) -> str:
    """`status__exact=failed&q=acme` → ` (status: failed, search: acme)`."""
    named = [("search" if name == "q" else name.removesuffix("__exact"), value) for name, value in parse_qsl(filters)]
    return f" ({', '.join(f'{name}: {value}' for name, value in named)})" if named else ""
