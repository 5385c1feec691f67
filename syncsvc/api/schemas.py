"""What the API takes and gives."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from ninja import Field, Schema
from pydantic import AfterValidator, ConfigDict, model_validator

from syncsvc.models import Operation
from syncsvc.operations.bulk import MOST_PERCENT, MOST_RUNNING
from syncsvc.operations.conditions import CONDITION_NAMES
from syncsvc.operations.scope import Scope
from syncsvc.statistics.waiting import Reason
from syncsvc.types import ErrorKind

IDS_MAX = 10_000
SELECTED_BY = (*CONDITION_NAMES, "ids")
# Not OperationItem.Status: the description knows a type by its bare name, and an operation has a Status, too.
ItemStatus = Literal["waiting", "running", "succeeded", "failed", "skipped", "cancelled"]
CONFIRM = "The number of subscriptions, where a `confirm` asked for it."
HOST = "Of the endpoint, or of the remote where the error is one of git's; with its port, if it has one."
ABORT = "Pause where more than this many percent of the first 50 fail."


def _host(text: str | None) -> str | None:
    if text and "\0" in text:
        raise ValueError("No host has a NUL in it.")
    return text and text.lower()


class Data[T](Schema):
    """Every answer that is no problem is inside `data`."""

    data: T


class Target(Schema):
    """One subscription, by its app and its repository."""

    app_id: uuid.UUID
    repository_id: uuid.UUID


class Queued(Target):
    queued: bool
    note: str | None


class Certificate(Schema):
    """`sha256` is its fingerprint."""

    subject: str
    issuer: str
    begins_at: datetime
    ends_at: datetime
    sha256: str


class SignerShown(Schema):
    """A secret that signs. `public_key` is null where both sides have the secret, `until` for the present one."""

    signing: Literal["hmac-sha256", "ed25519"]
    public_key: str | None
    until: datetime | None


class AppShown(Schema):
    """`headers` are the names of its own; `timeout` null: the setting's, and `request_timeout` is what counts."""

    id: uuid.UUID
    name: str
    url: str
    is_active: bool
    max_batch: int
    max_in_flight: int
    max_per_second: int | None
    timeout: float | None
    request_timeout: float
    headers: list[str]
    ca_certificate: list[Certificate]
    client_certificate: Certificate | None
    signers: list[SignerShown]


class Again(Schema):
    """How a bulk operation is to go."""

    model_config = ConfigDict(extra="forbid")

    confirm_count: Annotated[int | None, Field(ge=0, le=2**31 - 1, description=CONFIRM)] = None
    max_running: Annotated[int | None, Field(ge=1, le=MOST_RUNNING, description="Runs at once.")] = None
    abort_percent: Annotated[int | None, Field(ge=1, le=MOST_PERCENT, description=ABORT)] = None


class Options(Again):
    """How a bulk operation is to go; with a `digest` it is about what that preview showed, or less."""

    digest: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._=-]*$", description="Of a preview of the same scope.")] = ""


class Conditions(Schema):
    """All of them must hold."""

    # A field that is misspelt must not be taken for one that is left out, which would mean: all.
    model_config = ConfigDict(extra="forbid")

    app_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    error_kind: ErrorKind | None = None
    host: Annotated[str | None, Field(max_length=300, description=HOST), AfterValidator(_host)] = None
    ids: Annotated[list[uuid.UUID] | None, Field(min_length=1, max_length=IDS_MAX)] = None

    def scope(self, kind: Operation.Kind) -> Scope:
        return Scope(kind=kind, **{name: getattr(self, name) for name in SELECTED_BY})


class Selection(Conditions, Options):
    """At least one condition: `retry/all` is there for all."""

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        if not any(getattr(self, name) for name in SELECTED_BY):
            raise ValueError(f"Give {', '.join(SELECTED_BY[:-1])} or {SELECTED_BY[-1]}.")
        return self


class PreviewAsked(Conditions):
    kind: Operation.Kind


class PreviewShown(Schema):
    """What `digest` stands for, for an hour."""

    scope: str
    total: int
    by_app: dict[str, int]
    by_error: dict[str, int]
    skipped: dict[str, int]
    files: int
    bytes: int
    digest: str


class Started(Schema):
    operation_id: uuid.UUID
    total_count: int


class Pace(Schema):
    items_per_second: float | None
    files_per_second: float | None
    seconds_left: float | None


class Counts(Pace):
    """`completed` + `waiting` + `running` is `total`, at every instant."""

    operation_id: uuid.UUID
    kind: Operation.Kind
    status: Operation.Status
    total: int
    completed: int
    succeeded: int
    failed: int
    skipped: int
    waiting: int
    running: int
    files: int


class Progress(Counts):
    """`cancelled` is whether, `cancelled_count` how many; `version` rises with every change."""

    cancelled: bool
    cancelled_count: int
    version: int


class ErrorCount(Schema):
    error_kind: str
    count: int
    example: str


class OperationShown(Counts):
    """`retries` is the operation whose failed items this one retries."""

    cancelled: int
    reason: str | None
    scope: str
    asked_by: str
    source: Operation.Source
    retries: uuid.UUID | None
    created_at: datetime
    finished_at: datetime | None


class WaitsShown(Schema):
    """The number of items that wait for one reason. `name` is that of an app or a host; `text` says all in words."""

    count: int
    reason: Reason
    name: str | None
    until: datetime | None
    text: str


class OperationDetail(OperationShown):
    """One operation, with what its waiting items wait for."""

    waits: list[WaitsShown]


class OperationsPage(Schema):
    operations: list[OperationShown]
    next: uuid.UUID | None


class ItemShown(Schema):
    subscription: str
    subscription_id: uuid.UUID | None
    status: ItemStatus
    reason: str | None
    error_kind: str | None
    files: int


class ItemsPage(Schema):
    items: list[ItemShown]
    next: str | None


class ErrorsShown(Schema):
    errors: list[ErrorCount]


def wrapped(document: Any) -> dict[str, Any]:
    return {"data": document}
