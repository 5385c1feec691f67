"""What a bulk operation is about: which subscriptions, as data, in words, and as rows."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db.models import Q

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, OperationItem, Repository, Status, Subscription
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.types import ErrorKind

SELECTION_WORDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Conditions that all must hold; without any: all. `ids` is a hand-picked selection."""

    kind: Operation.Kind
    app_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    error_kind: ErrorKind | None = None
    endpoint: str | None = None
    failed_in: uuid.UUID | None = None
    ids: Sequence[uuid.UUID] | None = field(default=None)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `data`; Refused where it is not well formed."""
        try:
            known = {name: uuid.UUID(data[name]) for name in ("app_id", "repository_id", "failed_in") if data.get(name)}
            kind = ErrorKind(data["error_kind"]) if data.get("error_kind") else None
            ids = [uuid.UUID(id) for id in data["ids"]] if data.get("ids") is not None else None
            return cls(
                kind=Operation.Kind(data["kind"]), error_kind=kind, ids=ids, endpoint=data.get("endpoint"), **known
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
            "failed_in": self.failed_in and str(self.failed_in),
            "ids": None if self.ids is None else [str(id) for id in self.ids],
        }
        return {name: value for name, value in values.items() if value is not None}

    def subscriptions(self) -> SubscriptionQuerySet:
        """All it names, whatever their state."""
        conditions = Q()
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
        if self.failed_in is not None:
            failed = OperationItem.objects.filter(operation_id=self.failed_in, status=OperationItem.Status.FAILED)
            conditions &= Q(id__in=failed.values("subscription_id"))
        return Subscription.objects.filter(conditions)

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
        return " ".join(parts)


def _name(found: str | None) -> str:
    if found is None:
        raise Refused("not_found", "The app or repository does not exist; it may have been deleted meanwhile.")
    return found
