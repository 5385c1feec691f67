"""What a bulk operation is about: which subscriptions, as data, in words, and as rows."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qsl

from django.db.models import Q

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, OperationItem, Repository, Status, Subscription
from syncsvc.models.hosts import cause_host
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.types import ErrorKind

# What an operation's row has room for.
WORDS_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Conditions that all must hold; without any: all. `ids` is a hand-picked selection.

    `host` is that of the endpoint, or of the repository where the error is one of git's; blank: one without a host.
    `filters` are those of the console's list, as its address has them, and `rows` what the list then shows: all of it,
    without naming each. Rows are no data: whoever confirms brings them anew.
    """

    kind: Operation.Kind
    app_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    error_kind: ErrorKind | None = None
    endpoint: str | None = None
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
                app_id=_uuid(data, "app_id"),
                repository_id=_uuid(data, "repository_id"),
                error_kind=ErrorKind(data["error_kind"]) if data.get("error_kind") else None,
                endpoint=_text(data, "endpoint"),
                host=_text(data, "host"),
                failed_in=_uuid(data, "failed_in"),
                ids=[uuid.UUID(id) for id in data["ids"]] if data.get("ids") is not None else None,
                filters=_text(data, "filters"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused("invalid", "The scope is not well formed; ask for a new preview.") from error

    @property
    def data(self) -> dict[str, Any]:
        values = {
            "kind": self.kind.value,
            "app_id": self.app_id and str(self.app_id),
            "repository_id": self.repository_id and str(self.repository_id),
            "error_kind": self.error_kind and self.error_kind.value,
            "endpoint": self.endpoint,
            "host": self.host,
            "failed_in": self.failed_in and str(self.failed_in),
            "ids": None if self.ids is None else [str(id) for id in self.ids],
            "filters": self.filters,
        }
        return {name: value for name, value in values.items() if value is not None}

    def with_rows_of(self, other: "Scope") -> "Scope":
        """The same, with the rows that the other brings for the same filters."""
        return replace(self, rows=other.rows) if self.filters == other.filters else self

    def subscriptions(self) -> SubscriptionQuerySet:
        """All it names, whatever their state."""
        found, conditions = Subscription.objects.all(), Q()
        if self.app_id is not None:
            conditions &= Q(app_id=self.app_id)
        if self.repository_id is not None:
            conditions &= Q(repository_id=self.repository_id)
        if self.error_kind is not None:
            conditions &= Q(error_kind=self.error_kind)
        if self.endpoint is not None:
            conditions &= Q(app__url=self.endpoint)
        if self.ids is not None:
            conditions &= Q(id__in=self.ids)
        if self.filters is not None:
            if self.rows is None:
                raise Refused("invalid", "This preview is of a list in the console; confirm it there.")
            found = self.rows.order_by().select_related(None)
        if self.host is not None:
            found = found.alias(cause_host=cause_host())
            conditions &= Q(cause_host=self.host)
        if self.failed_in is not None:
            failed = OperationItem.objects.filter(operation_id=self.failed_in, status=OperationItem.Status.FAILED)
            conditions &= Q(id__in=failed.values("subscription_id"))
        return found.filter(conditions)

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
        if self.app_id is not None:
            parts.append(f"of {_name(App.objects.filter(id=self.app_id).values_list('name', flat=True).first())}")
        if self.repository_id is not None:
            names = Repository.objects.filter(id=self.repository_id).values_list("name", flat=True)
            parts.append(f"following {_name(names.first())}")
        if self.error_kind is not None:
            parts.append(f"with {self.error_kind.value}")
        if self.endpoint is not None:
            parts.append(f"at {self.endpoint}")
        if self.host is not None:
            parts.append(f"at {self.host or 'a local path'}")
        if self.filters is not None:
            parts.append(f"of the list{_filter_words(self.filters)}")
        return " ".join(parts)[:WORDS_LENGTH]


def _uuid(data: Mapping[str, Any], name: str) -> uuid.UUID | None:
    return uuid.UUID(data[name]) if data.get(name) else None


def _text(data: Mapping[str, Any], name: str) -> str | None:
    return str(data[name]) if data.get(name) is not None else None


def _filter_words(filters: str) -> str:
    """`status__exact=failed&q=acme` → ` (status: failed, search: acme)`."""
    named = [("search" if name == "q" else name.removesuffix("__exact"), value) for name, value in parse_qsl(filters)]
    return f" ({', '.join(f'{name}: {value}' for name, value in named)})" if named else ""


def _name(found: str | None) -> str:
    if found is None:
        raise Refused("not_found", "The app or repository does not exist; it may have been deleted meanwhile.")
    return found
