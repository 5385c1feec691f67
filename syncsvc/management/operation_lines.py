"""Operations and previews in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.timesince import timesince

from syncsvc.models import Operation
from syncsvc.operations.preview import Preview

WORDS = {Operation.Kind.RETRY: "retry", Operation.Kind.RESYNC: "re-sync"}
OUTCOMES = ("succeeded", "failed", "skipped", "cancelled", "running", "waiting")


def preview_lines(shown: Preview) -> Iterator[str]:
    """What would be done; the digest last, for `--digest`."""
    resync = shown.scope.kind == Operation.Kind.RESYNC
    sends = f": {shown.files} files ({_size(shown.bytes)}) are sent again" if resync else ""
    yield f"{WORDS[shown.scope.kind].capitalize()} of {shown.total} subscriptions{sends}"
    yield from _counts("by app", shown.by_app)
    if not resync:
        yield from _counts("by error", shown.by_error)
    yield from _counts("left out", shown.skipped)


def operation_line(document: Mapping[str, Any]) -> str:
    """`<id> retry of all failed subscriptions: running, 15/23 completed, 12 succeeded, 3 failed (who, when)`."""
    counts = [f"{document[name]} {name}" for name in OUTCOMES if document[name]]
    what = f"{WORDS[Operation.Kind(document['kind'])]} of {document['scope']}"
    asked = f"{document['asked_by']}, {timesince(document['created_at'], depth=1)} ago".replace("\xa0", " ")
    state = ", ".join([document["status"], f"{document['completed']}/{document['total']} completed", *counts])
    return f"{document['operation_id']} {what}: {state} ({asked})"


def operation_lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield operation_line(document)
    if document["reason"]:
        yield f"  {document['reason']}"
    if document["seconds_left"]:
        yield f"  {document['items_per_second']} a second, about {document['seconds_left']:.0f} s left"
    for error in document["errors"]:
        yield f"  {error['count']} {error['error_kind']}: {error['example']}"


def summary(operation: Operation) -> str:
    """`Bulk retry complete: 20 succeeded, 3 failed`."""
    what = f"Bulk {WORDS[Operation.Kind(operation.kind)]}"
    counts = [f"{operation.succeeded} succeeded", f"{operation.failed} failed"]
    counts += [f"{getattr(operation, name)} {name}" for name in ("skipped", "cancelled") if getattr(operation, name)]
    if not operation.ended:
        return f"{what} {operation.status}: {operation.completed}/{operation.total} completed, {', '.join(counts)}"
    word = "cancelled" if operation.status == Operation.Status.CANCELLED else "complete"
    return f"{what} {word}: {', '.join(counts)}"


def item_line(document: Mapping[str, Any]) -> str:
    why = f". {document['error_kind']}: {document['reason']}" if document["error_kind"] else ""
    if not why and document["reason"]:
        why = f". {document['reason']}"
    return f"{document['subscription']}: {document['status']}, {document['files']} files{why}"


def _counts(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield f"  {title}: {', '.join(f'{count} {name}' for name, count in counts.items())}"


def _size(size: int) -> str:
    return filesizeformat(size).replace("\xa0", " ")
