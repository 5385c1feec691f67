"""Operations and previews in lines."""

from collections.abc import Iterator, Mapping

from django.utils import timezone

from syncsvc.models import Operation
from syncsvc.operations.document import FullDocument, ItemDocument, OperationDocument
from syncsvc.operations.preview import Preview
from syncsvc.operations.summary import counts_text, verb
from syncsvc.words import counted, left, plural, relative, size


def preview_lines(shown: Preview) -> Iterator[str]:
    """The preview, in lines for people."""
    resync = shown.scope.kind == Operation.Kind.RESYNC
    files = f"{counted(shown.files, 'file')} ({size(shown.bytes)}) {plural(shown.files, 'is', 'are')} sent again"
    sends = f": {files}" if resync else ""
    yield f"{verb(shown.scope.kind).capitalize()} of {counted(shown.total, 'subscription')}{sends}"
    yield from _counts("by app", shown.by_app)
    if not resync:
        yield from _counts("by error", shown.by_error)
    yield from _counts("left out", shown.skipped)


def operation_line(document: OperationDocument) -> str:
    """`<id> retry of all failed subscriptions: running, 15/23 completed, 12 succeeded, 3 failed (who, when)`."""
    what = f"{verb(document['kind'])} of {document['scope']}"
    asked = f"{document['asked_by']}, {relative(document['created_at'] - timezone.now())}"
    return f"{document['operation_id']} {what}: {document['status']}, {counts_text(document)} ({asked})"


def operation_lines(document: FullDocument) -> Iterator[str]:
    yield operation_line(document)
    if document["reason"]:
        yield f"  {document['reason']}"
    if document["seconds_left"]:
        yield f"  {document['items_per_second']} a second, {left(document['seconds_left'])}"
    for waits in document["waits"]:
        yield f"  {waits['text']}"
    for error in document["errors"]:
        yield f"  {error['count']:,} {error['error_kind']}: {error['example']}"


def item_line(document: ItemDocument) -> str:
    why = f". {document['error_kind']}: {document['reason']}" if document["error_kind"] else ""
    if not why and document["reason"]:
        why = f". {document['reason']}"
    return f"{document['subscription']}: {document['status']}, {counted(document['files'], 'file')}{why}"


def _counts(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield f"  {title}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}"
