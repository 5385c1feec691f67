"""The conditions of a bulk operation, one a row: how each is kept as data, which subscriptions it leaves, its words."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import models

from syncsvc.exceptions import Refused
from syncsvc.models import App, Repository
from syncsvc.models.hosts import cause_host
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.types import ErrorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition; `name` is that of its field in a Scope, and in what scripts send and are given.

    `read` makes its value of data, where it is text; ValueError where that is not well formed. `narrow` leaves the
    subscriptions for which it holds. `words` says it to people, behind `all failed subscriptions`; Refused where it
    names a row that is gone.
    """

    name: str
    read: Callable[[str], Any]
    narrow: Callable[[SubscriptionQuerySet, Any], SubscriptionQuerySet]
    words: Callable[[Any], str]


def _name_of(model: type[models.Model], row_id: uuid.UUID) -> str:
    name: str | None = model._default_manager.filter(pk=row_id).values_list("name", flat=True).first()
    if name is None:
        raise Refused("not_found", "The app or repository does not exist; it may have been deleted meanwhile.")
    return name


CONDITIONS = (
    Condition(
        name="app_id",
        read=uuid.UUID,
        narrow=lambda found, app_id: found.filter(app_id=app_id),
        words=lambda app_id: f"of {_name_of(App, app_id)}",
    ),
    Condition(
        name="repository_id",
        read=uuid.UUID,
        narrow=lambda found, repository_id: found.filter(repository_id=repository_id),
        words=lambda repository_id: f"following {_name_of(Repository, repository_id)}",
    ),
    Condition(
        name="error_kind",
        read=ErrorKind,
        narrow=lambda found, kind: found.filter(error_kind=kind),
        words=lambda kind: f"with {kind}",
    ),
    Condition(
        name="host",
        read=str,
        narrow=lambda found, host: found.alias(cause_host=cause_host()).filter(cause_host=host),
        words=lambda host: f"at {host or 'a local path'}",
    ),
)
CONDITION_NAMES = tuple(condition.name for condition in CONDITIONS)
