"""The audit as documents."""

from collections.abc import Iterator
from datetime import datetime
from typing import TypedDict

from syncsvc.models import AuditEntry

PAGE = 500


class AuditDocument(TypedDict):
    """One entry: `at` is the first time and `last_at` the last of `times`; `who` is None where nobody is known."""

    at: datetime
    last_at: datetime
    times: int
    action: str
    who: str | None
    user_id: int | None
    source: str
    address: str | None
    object_type: str | None
    object_id: str | None
    object_name: str | None
    text: str


def audit_documents(
    *, about: str = "", action: str = "", since: datetime | None = None, limit: int
) -> Iterator[AuditDocument]:
    """The newest first; `about` is the name, id or address of who or what it is about, in full."""
    entries = AuditEntry.objects.order_by("-id")
    if about:
        entries = entries.about(about)
    if action:
        entries = entries.filter(action=action)
    if since is not None:
        entries = entries.filter(last_at__gte=since)
    return (_document(entry) for entry in entries[:limit].iterator(PAGE))


def _document(entry: AuditEntry) -> AuditDocument:
    return {
        "at": entry.at,
        "last_at": entry.last_at,
        "times": entry.times,
        "action": entry.action,
        "who": entry.actor or None,
        "user_id": entry.user_id,
        "source": entry.source,
        "address": entry.address,
        "object_type": entry.object_type or None,
        "object_id": entry.object_id or None,
        "object_name": entry.object_name or None,
        "text": entry.text,
    }
