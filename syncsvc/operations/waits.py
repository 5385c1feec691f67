"""What an operation's waiting items wait for, in words and for scripts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypedDict

from syncsvc.models import Operation, OperationItem
from syncsvc.statistics.waiting import Reason, Waits, waiting_items, waiting_of
from syncsvc.words import clock, plural


class WaitsDocument(TypedDict):
    """The number of items that wait for one reason. `name` is that of an app or a host; `text` says all in words."""

    count: int
    reason: Reason
    name: str | None
    until: datetime | None
    text: str


def waits_of(operation: Operation) -> list[WaitsDocument]:
    """The largest group first; empty without a query where nothing waits."""
    if operation.ended or not operation.waiting:
        return []
    now = datetime.now(UTC)
    return [
        WaitsDocument(
            count=waits.count,
            reason=waits.reason,
            name=waits.name or None,
            until=waits.until,
            text=waits_text(waits, now=now, max_running=operation.max_running),
        )
        for waits in waiting_of(operation.pk)
    ]


def item_waits(operation: Operation, items: Sequence[OperationItem]) -> dict[int, str]:
    """For what each of these items waits, in words, by its id; nothing of those that do not wait."""
    waiting = [item.pk for item in items if item.status == OperationItem.Status.WAITING]
    if not waiting:
        return {}
    now, found = datetime.now(UTC), waiting_items(operation.pk, waiting)
    return {id: f"Waits{_for_what(waits, now=now, max_running=operation.max_running)}." for id, waits in found.items()}


def waits_text(waits: Waits, *, now: datetime, max_running: int) -> str:
    """`12 wait: acme's circuit is open until 10:05:00 UTC`, `3 wait for a run that goes on`."""
    for_what = _for_what(waits, now=now, max_running=max_running)
    return f"{waits.count:,} {plural(waits.count, 'waits', 'wait')}{for_what}"


def _for_what(waits: Waits, *, now: datetime, max_running: int) -> str:
    until = f" until {clock(waits.until, now=now)}" if waits.until else ""
    its, it = plural(waits.count, "its", "their"), plural(waits.count, "it", "them")
    said = {
        "paused": " until the operation is resumed",
        "throttled": f": {waits.name} asked for fewer requests{until}",
        "host": f": {waits.name} asked to be left alone{until}",
        "released": f" for a worker, and {plural(waits.count, 'begins', 'begin')} within seconds",
        "circuit": f": {waits.name}'s circuit is open{until}, and one request tries it then",
        "running": " for a run that goes on",
        "elsewhere": f" for another operation that has {it} in hand",
        "queued": " for a run that is queued already",
        "turn": f" for {its} turn: at most {max_running:,} {plural(max_running, 'runs', 'run')} at once",
    }
    return said[waits.reason]
