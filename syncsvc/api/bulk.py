"""Many subscriptions at once: look at what it would be, start it."""

import uuid
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Body, Header, Router

from syncsvc.api.callers import Caller, caller_of, needs
from syncsvc.api.schemas import Data, Options, PreviewAsked, PreviewShown, Selection, Started, wrapped
from syncsvc.exceptions import Refused
from syncsvc.models import Operation
from syncsvc.models.token import TokenScope
from syncsvc.operations import bulk
from syncsvc.operations.preview import preview, read_digest
from syncsvc.operations.scope import Scope
from syncsvc.types import ErrorKind

router = Router(tags=["many subscriptions"])

RETRY, RESYNC = Operation.Kind.RETRY, Operation.Kind.RESYNC
BULK_RETRY = needs("bulk_retry", TokenScope.RETRY)
BULK_RESYNC = needs("bulk_resync", TokenScope.RESYNC)
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", pattern=r"^[!-~]{1,100}$", description="The same request sent twice starts one."),
]
Choice = Annotated[Options | None, Body()]


@router.post("preview", response=Data[PreviewShown], auth=needs("view_subscription", TokenScope.READ))
def look(request: HttpRequest, asked: PreviewAsked) -> dict[str, Any]:
    """What a bulk operation would be about; its `digest` starts that, or less."""
    scope = asked.scope(asked.kind)
    return wrapped({"scope": scope.words(), **preview(scope).json()})


@router.post("retry/all", response=Data[Started], auth=BULK_RETRY)
def retry_all(request: HttpRequest, options: Choice = None, key: Key = None) -> dict[str, Any]:
    """Every failed subscription."""
    return _start(request, Scope(kind=RETRY), options, key)


@router.post("retry/app/{app_id}", response=Data[Started], auth=BULK_RETRY)
def retry_app(request: HttpRequest, app_id: uuid.UUID, options: Choice = None, key: Key = None) -> dict[str, Any]:
    """An app's failed subscriptions."""
    return _start(request, Scope(kind=RETRY, app_id=app_id), options, key)


@router.post("retry/repository/{repository_id}", response=Data[Started], auth=BULK_RETRY)
def retry_repository(
    request: HttpRequest, repository_id: uuid.UUID, options: Choice = None, key: Key = None
) -> dict[str, Any]:
    """A repository's failed subscriptions."""
    return _start(request, Scope(kind=RETRY, repository_id=repository_id), options, key)


@router.post("retry/error/{kind}", response=Data[Started], auth=BULK_RETRY)
def retry_error(request: HttpRequest, kind: ErrorKind, options: Choice = None, key: Key = None) -> dict[str, Any]:
    """What failed for one reason."""
    return _start(request, Scope(kind=RETRY, error_kind=kind), options, key)


@router.post("retry/selection", response=Data[Started], auth=BULK_RETRY)
def retry_selection(request: HttpRequest, selection: Selection, key: Key = None) -> dict[str, Any]:
    """The failed ones for which all that is given holds."""
    return _start(request, selection.scope(RETRY), selection, key)


@router.post("resync/app/{app_id}", response=Data[Started], auth=BULK_RESYNC)
def resync_app(request: HttpRequest, app_id: uuid.UUID, options: Choice = None, key: Key = None) -> dict[str, Any]:
    """All that an app follows, from the first file on."""
    return _start(request, Scope(kind=RESYNC, app_id=app_id), options, key)


@router.post("resync/repository/{repository_id}", response=Data[Started], auth=BULK_RESYNC)
def resync_repository(
    request: HttpRequest, repository_id: uuid.UUID, options: Choice = None, key: Key = None
) -> dict[str, Any]:
    """A repository to all who follow it, from the first file on."""
    return _start(request, Scope(kind=RESYNC, repository_id=repository_id), options, key)


@router.post("resync/selection", response=Data[Started], auth=BULK_RESYNC)
def resync_selection(request: HttpRequest, selection: Selection, key: Key = None) -> dict[str, Any]:
    """Those for which all that is given holds, from the first file on."""
    return _start(request, selection.scope(RESYNC), selection, key)


def _start(request: HttpRequest, scope: Scope, options: Options | None, key: str | None) -> dict[str, Any]:
    options = options or Options()
    if options.digest and read_digest(options.digest).scope.data != scope.data:
        raise Refused("invalid", "The digest is of another scope; ask for a preview of this one.")
    caller = caller_of(request)
    operation = bulk.start(
        scope,
        caller.asker,
        digest=options.digest,
        typed_count=options.confirm_count,
        idempotency_key=own_key(caller, key),
        max_running=options.max_running,
        abort_percent=options.abort_percent,
    )
    return started(operation, as_asked=operation.scope == scope.data)


def own_key(caller: Caller, key: str | None) -> str | None:
    """One person's key is not another's."""
    return f"api:{caller.user.pk}:{key}" if key else None


def started(operation: Operation, *, as_asked: bool) -> dict[str, Any]:
    """Refused where its key gave an operation that something else had started."""
    if not as_asked:
        raise Refused("conflict", "This Idempotency-Key has started another operation already; take a new one.")
    return wrapped({"operation_id": operation.id, "total_count": operation.total})
