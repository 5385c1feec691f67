"""The record that a run leaves: where it went from and to, what it planned and delivered, and how it ended."""

from typing import TypedDict

from syncsvc.models import SyncRun
from syncsvc.sync.ending import Ending, Failed, Held, progress_of
from syncsvc.sync.job import Job
from syncsvc.sync.settlement import Fail, HandBack, Postpone


class Counts(TypedDict):
    """From where to where a run went, and how many changes it planned and delivered, as its record has them."""

    from_commit: str
    to_commit: str
    created: int
    updated: int
    deleted: int
    delivered: int
    requests: int
    bytes: int


def end_run(job: Job, ending: Ending, settlement: Postpone | Fail | HandBack) -> SyncRun | None:
    """None where the run is forgotten: it was handed back before its first request."""
    progress = progress_of(ending)
    if isinstance(settlement, HandBack):
        if not progress or not progress.tally.requests:
            SyncRun.objects.filter(id=job.run_id).delete()
            return None
        kind, error = "", ""
    else:
        kind, error = settlement.failure.kind.value, settlement.failure.error
    return SyncRun.objects.end(
        job.run_id,
        outcome=_outcome(ending, settlement),
        **counts_of(job, ending),
        failed=progress.tally.failed if progress else 0,
        error_kind=kind,
        error=error,
        traceback=ending.traceback if isinstance(ending, Failed) else "",
    )


def _outcome(ending: Ending, settlement: Postpone | Fail | HandBack) -> SyncRun.Outcome:
    match settlement:
        case Postpone():
            return SyncRun.Outcome.POSTPONED
        case Fail():
            return SyncRun.Outcome.HELD if isinstance(ending, Held) else SyncRun.Outcome.FAILED
        case HandBack():
            return SyncRun.Outcome.INTERRUPTED


def counts_of(job: Job, ending: Ending) -> Counts:
    clean, progress = job.subscription.clean_snapshot, progress_of(ending)
    from_commit = clean.commit if clean else ""
    if progress is None:
        return Counts(
            from_commit=from_commit, to_commit="", created=0, updated=0, deleted=0, delivered=0, requests=0, bytes=0
        )
    plan, tally = progress.plan, progress.tally
    # A held run says only the deletes that it is held for.
    held = isinstance(ending, Held)
    return Counts(
        from_commit=from_commit,
        to_commit=progress.snapshot.commit,
        created=0 if held else plan.created,
        updated=0 if held else plan.updated,
        deleted=plan.deletes,
        delivered=tally.delivered,
        requests=tally.requests,
        bytes=tally.content_bytes,
    )
