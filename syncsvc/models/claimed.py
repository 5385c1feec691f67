"""What a claim gives: all that a run must know, read by the statement that claimed it."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from syncsvc.models.claim_sql import wanted_of_claimed
from syncsvc.models.hot import row_of

if TYPE_CHECKING:
    from syncsvc.models.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Claimed:
    """The subscription comes with its app, its repository and the snapshot that its ledger is clean at.

    `at` is the database's time; `released_at` when an operation released the item that this run is for, None for none.
    """

    subscription: "Subscription"
    at: datetime
    released_at: datetime | None


def claimed_from(row: tuple[Any, ...]) -> Claimed:
    """Of a row of `claim_sql`."""
    at, released_at, *columns = row
    parts: list[Any] = []
    for model, only in wanted_of_claimed().values():
        values, columns = tuple(columns[: len(only)]), columns[len(only) :]
        parts.append(None if values[0] is None else row_of(model, values, only))
    subscription, app, repository, snapshot = parts
    subscription.app, subscription.repository, subscription.clean_snapshot = app, repository, snapshot
    return Claimed(subscription, at, released_at)
