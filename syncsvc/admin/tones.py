"""The tone (colour) of each state's badge: one table for every list and page."""

from collections.abc import Mapping
from typing import Literal, TypedDict

from syncsvc.models import AuditEntry, Operation, OperationItem, Status, Subscription, SyncRun
from syncsvc.statistics.queue import State

Tone = Literal["good", "busy", "warn", "bad", "quiet"]


class Verdict(TypedDict):
    """The worst that there is to say of an app or a repository, as a badge: on its page, and in its list."""

    word: str
    tone: Tone


OF_STATUS: Mapping[str, Tone] = {
    Status.PENDING: "quiet",
    Status.SYNCING: "busy",
    Status.SYNCED: "good",
    Status.FAILED: "bad",
}
OF_OUTCOME: Mapping[str, Tone] = {
    SyncRun.Outcome.SYNCED: "good",
    SyncRun.Outcome.POSTPONED: "warn",
    SyncRun.Outcome.FAILED: "bad",
    SyncRun.Outcome.HELD: "bad",
    SyncRun.Outcome.INTERRUPTED: "quiet",
    SyncRun.Outcome.STOPPED: "quiet",
}
OF_OPERATION: Mapping[str, Tone] = {
    Operation.Status.RUNNING: "busy",
    Operation.Status.PAUSED: "warn",
    Operation.Status.CANCELLING: "warn",
    Operation.Status.CANCELLED: "quiet",
    Operation.Status.FINISHED: "good",
}
OF_ITEM: Mapping[str, Tone] = {
    OperationItem.Status.WAITING: "quiet",
    OperationItem.Status.RUNNING: "busy",
    OperationItem.Status.SUCCEEDED: "good",
    OperationItem.Status.FAILED: "bad",
    OperationItem.Status.SKIPPED: "quiet",
    OperationItem.Status.CANCELLED: "quiet",
}
OF_AUDIT: Mapping[str, Tone] = {
    AuditEntry.Action.ADDED: "quiet",
    AuditEntry.Action.CHANGED: "quiet",
    AuditEntry.Action.DELETED: "warn",
    AuditEntry.Action.LOGGED_IN: "good",
    AuditEntry.Action.LOGIN_FAILED: "bad",
    AuditEntry.Action.LOGGED_OUT: "quiet",
    AuditEntry.Action.TOKEN_USED: "quiet",
}
OF_QUEUED: Mapping[State, Tone] = {"running": "busy", "queued": "busy", "due": "warn", "waiting": "quiet"}


def state_of(subscription: Subscription) -> tuple[str, Tone]:
    """The word for a subscription's state, and its tone."""
    if subscription.stop_requested_at is not None:
        return "Stopping", OF_STATUS[subscription.status]
    if subscription.status == Status.PENDING and subscription.is_retrying:
        return "Retrying", "warn"
    if subscription.is_throttled:
        return "Throttled", "warn"
    if subscription.awaits_first_commit:
        return "Waiting for its first commit", "quiet"
    return Status(subscription.status).label.capitalize(), OF_STATUS[subscription.status]


def result_of(run: SyncRun) -> tuple[str, Tone]:
    """The word for a run's outcome, and its tone."""
    if run.found_no_commit:
        return "No commit yet", "quiet"
    return (run.outcome.capitalize(), OF_OUTCOME[run.outcome]) if run.outcome else ("Running", "busy")


def tone_of_operation(status: str, failed: int) -> Tone:
    return "bad" if status == Operation.Status.FINISHED and failed else OF_OPERATION[status]
