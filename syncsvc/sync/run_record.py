"""The record that a run leaves: where it went from and to, what it planned and delivered, and how it ended."""

from syncsvc.models import SyncRun
from syncsvc.store.runs import RunRecord, end_run
from syncsvc.sync.ending import Ending, Failed, HandedBack, Held, progress_of
from syncsvc.sync.job import Job
from syncsvc.sync.settlement import Fail, HandBack, Moved, Postpone, Stop


def end(job: Job, ending: Ending, settlement: Moved) -> SyncRun | None:
    """None where the run is forgotten: it was handed back before its first request."""
    progress = progress_of(ending)
    if isinstance(settlement, HandBack):
        if not progress or not progress.tally.requests:
            SyncRun.objects.filter(id=job.run_id).delete()
            return None
        kind, error = "", ending.reason if isinstance(ending, HandedBack) else ""
    elif isinstance(settlement, Stop):
        kind, error = "", settlement.error
    else:
        kind, error = settlement.failure.kind.value, settlement.failure.error
    return end_run(
        job.run_id,
        outcome=_outcome(ending, settlement),
        record=record_of(job, ending),
        failed=progress.tally.failed if progress else 0,
        error_kind=kind,
        error=error,
        traceback=ending.traceback if isinstance(ending, Failed) else "",
    )


def _outcome(ending: Ending, settlement: Moved) -> SyncRun.Outcome:
    match settlement:
        case Postpone():
            return SyncRun.Outcome.POSTPONED
        case Fail():
            return SyncRun.Outcome.HELD if isinstance(ending, Held) else SyncRun.Outcome.FAILED
        case HandBack():
            return SyncRun.Outcome.INTERRUPTED
        case Stop():
            return SyncRun.Outcome.STOPPED


def record_of(job: Job, ending: Ending) -> RunRecord:
    clean, progress = job.subscription.clean_snapshot, progress_of(ending)
    from_commit = clean.commit if clean else ""
    if progress is None:
        return RunRecord(from_commit=from_commit)
    plan, tally = progress.plan, progress.tally
    # A held run says only the deletes that it is held for.
    held = isinstance(ending, Held)
    return RunRecord(
        from_commit=from_commit,
        to_commit=progress.snapshot.commit,
        created=0 if held else plan.created,
        updated=0 if held else plan.updated,
        deleted=plan.deletes,
        delivered=tally.delivered,
        requests=tally.requests,
        bytes=tally.content_bytes,
    )
