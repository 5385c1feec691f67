"""The sentences that a run leaves with its subscription and with its operation's item."""

from syncsvc.sync.ending import EndpointLeftAlone, EndpointThrottled, Progress

# An item's row has room for so many letters.
REASON_LENGTH = 500


def held_text(name: str, progress: Progress) -> str:
    """`name` is the subscription's, as commands take it."""
    plan = progress.plan
    return (
        f"Held: {plan.deletes} of {plan.known} files would be deleted at commit {progress.snapshot.commit[:12]}."
        f" Nothing was sent. If that is right: manage.py sync {name} --allow-deletes"
    )


def incomplete_text(progress: Progress) -> str:
    planned, tally = progress.plan.changes, progress.tally
    missing = planned - tally.delivered
    where = f" First: {tally.path.decode(errors='backslashreplace')[:200]}" if tally.path is not None else ""
    were = "was" if missing == 1 else "were"
    return f"{missing:,} of {_changes(planned)} {were} not taken. {tally.error}{where}"


def left_alone_text(ending: EndpointLeftAlone) -> str:
    waiting = ending.progress.plan.changes
    return (
        f"The endpoint has not answered well for {_minutes(ending.circuit.for_seconds)} and is left alone until its"
        f" cool-down ends; {_changes(waiting)} wait{'s' if waiting == 1 else ''}. A retry tries it at once."
    )


def throttled_text(ending: EndpointThrottled) -> str:
    waiting = ending.progress.plan.changes - ending.progress.tally.delivered
    asked = ending.progress.tally.throttle_error or "The endpoint asked for fewer requests."
    return f"{asked} {_changes(waiting)} wait{'s' if waiting == 1 else ''} until it takes requests again."


def stopped_text(progress: Progress | None) -> str:
    if progress is None:
        return "Stopped by an operator before anything was sent."
    left = progress.plan.changes - progress.tally.delivered
    return f"Stopped by an operator: {_changes(left)} {'was' if left == 1 else 'were'} not sent."


def handed_over_text(because: str) -> str:
    """Of a run whose turn was over; blank for one that something else interrupted."""
    return f"Handed its slot back, because {because}. The next run goes on from there." if because else ""


def still_down_text(delay: float | None) -> str:
    """Of an item that waited for its app's endpoint."""
    again = "" if delay is None else f" It tries by itself in {_wait_of(delay)}."
    return f"The endpoint is still down or takes no requests: it was tried, and nothing more of it is sent now.{again}"


def item_reason(error: str, delay: float | None) -> str:
    """The error and when it is tried again, within the length of an item's reason."""
    stop = "" if error.endswith(".") else "."
    again = "" if delay is None else f"{stop} Tries again by itself in {_wait_of(delay)}."
    return f"{error[: REASON_LENGTH - len(again)]}{again}"


def _changes(number: int) -> str:
    return f"{number:,} change{'' if number == 1 else 's'}"


def _minutes(seconds: float) -> str:
    return "under a minute" if seconds < 60 else f"{seconds / 60:.0f} min"


def _wait_of(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
