"""How commands show a run: a row of JSON, or a line."""

from typing import Any

from syncsvc.models import Subscription, SyncRun
from syncsvc.words import changes, counted


def run_row(subscription: Subscription, run: SyncRun | None) -> dict[str, Any]:
    """`run` None: asked for, and not ended. `paused` says that it waits for somebody to resume it."""
    return {
        "subscription": str(subscription),
        "status": subscription.status,
        "paused": subscription.paused,
        "outcome": run.outcome if run else None,
        "commit": (run.to_commit or None) if run else None,
        "created": run.created if run else 0,
        "updated": run.updated if run else 0,
        "deleted": run.deleted if run else 0,
        "delivered": run.delivered if run else 0,
        "failed": run.failed if run else 0,
        "bytes": run.bytes if run else 0,
        "seconds": run.seconds if run else None,
        "error_kind": (run.error_kind or None) if run else None,
        "error": (run.error or None) if run else None,
    }


def run_line(row: dict[str, Any], *, allow_deletes: bool = False) -> str:
    name = row["subscription"]
    if row["outcome"] is None:
        if row["paused"]:
            return f"{name}: paused; it runs when it is resumed"
        return f"{name}: asked for, {row['status']}"
    if row["outcome"] != SyncRun.Outcome.SYNCED:
        kind = f"{row['error_kind']}: " if row["error_kind"] else ""
        return f"{name}: {row['outcome']}{_counts(row)}. {kind}{row['error'] or ''}".rstrip()
    if not row["commit"]:
        return f"{name}: waiting for its first commit; the remote has none"
    at = f" at {row['commit'][:12]}"
    line = f"{name}: synced{at} in {row['seconds']:.1f} s{_counts(row) or ', nothing to send'}"
    return f"{line}; the deletes were allowed" if allow_deletes and row["deleted"] else line


def _counts(row: dict[str, Any]) -> str:
    planned = row["created"] + row["updated"] + row["deleted"]
    if not planned:
        return ""
    kinds = changes(created=row["created"], updated=row["updated"], deleted=row["deleted"])
    return f", {row['delivered']:,} of {counted(planned, 'change')} delivered ({kinds})"
