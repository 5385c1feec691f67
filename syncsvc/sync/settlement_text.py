"""The sentences that a run leaves with its subscription and with its operation's item."""

from syncsvc.sync.ending import EndpointLeftAlone, EndpointThrottled, Progress
from syncsvc.types import ErrorKind
from syncsvc.words import counted, plural, span

# An item's row has room for so many letters.
REASON_LENGTH = 500
OTHER_REMOTE_TEXT = "The repository has another URL or branch by now; the next run sends what is there."
ANOTHER_BY_NOW_TEXT = "The app's URL or the repository's remote was changed meanwhile; the next run goes by that."


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
    were = plural(missing, "was", "were")
    return f"{missing:,} of {_changes(planned)} {were} not taken. {tally.error}{where}"


def left_alone_text(ending: EndpointLeftAlone) -> str:
    waiting, seconds = ending.progress.plan.changes, ending.circuit.for_seconds
    down = "under a minute" if seconds < 60 else span(seconds)
    return (
        f"The endpoint has not answered well for {down} and is left alone until its cool-down ends;"
        f" {_changes(waiting)} {plural(waiting, 'waits', 'wait')}. A retry tries it at once."
    )


def throttled_text(ending: EndpointThrottled) -> str:
    waiting = ending.progress.plan.changes - ending.progress.tally.delivered
    asked = ending.progress.tally.throttle_error or "The endpoint asked for fewer requests."
    return f"{asked} {_changes(waiting)} {plural(waiting, 'waits', 'wait')} until it takes requests again."


def stopped_text(progress: Progress | None) -> str:
    if progress is None:
        return "Stopped by an operator before anything was sent."
    left = progress.plan.changes - progress.tally.delivered
    return f"Stopped by an operator: {_changes(left)} {plural(left, 'was', 'were')} not sent."


def handed_over_text(because: str) -> str:
    """Of a run whose turn was over; blank for one that something else interrupted."""
    return f"Handed its slot back, because {because}. The next run goes on from there." if because else ""


def gave_up_text(kind: ErrorKind) -> str:
    """Of an item that waited for its app's endpoint: the circuit was probed and stays open, or the throttle lasts."""
    if kind is ErrorKind.ENDPOINT_THROTTLED:
        return "The endpoint has asked for fewer requests for too long and took none: it was tried once more."
    return "The endpoint's circuit is open: it was tried once more, and is still down."


def quiet_text(host: str) -> str:
    """Of an item that waited for a remote's host."""
    return f"{host[:200]} has asked to be left alone for too long and answered nothing else: it was asked once more."


def item_reason(error: str, delay: float | None) -> str:
    """The error and when it is tried again, within the length of an item's reason."""
    stop = "" if error.endswith(".") else "."
    again = "" if delay is None else f"{stop} Tries again by itself in {span(delay)}."
    return f"{error[: REASON_LENGTH - len(again)]}{again}"


def _changes(number: int) -> str:
    return counted(number, "change")
