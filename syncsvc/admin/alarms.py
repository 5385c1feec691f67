"""What is wrong, in words, the worst first: each with whose it is and where to go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from syncsvc.admin.cells import relative
from syncsvc.sync.health import Alive

# What is due is claimed within seconds; later than this, workers do not keep up.
LATE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Alarm:
    """`tone` is bad or warn, `word` the badge's; `action` is the words of the link."""

    tone: str
    word: str
    text: str
    url: str = ""
    action: str = ""


def alarms(numbers: dict[str, Any], alive: Alive | None) -> list[Alarm]:
    found = [*_of_processes(numbers["counts"], alive), *_of_failures(numbers), *_of_others(numbers, alive)]
    return sorted(found, key=lambda alarm: alarm.tone != "bad")


def is_polled(alive: Alive | None) -> bool:
    """Else it is not git that is to blame where a repository was not checked."""
    return alive is not None and alive.scheduler is not None and bool(alive.workers)


def failures_url(**filters: str) -> str:
    """The page of failures, its list filtered."""
    page = reverse("admin:failures")
    return f"{page}?{urlencode(filters)}#list" if filters else page


def row_url(model: str, row_id: str) -> str:
    return reverse(f"admin:syncsvc_{model}_change", args=[row_id])


def _of_processes(counts: dict[str, Any], alive: Alive | None) -> Iterator[Alarm]:
    if alive is None:
        away = "Redis does not answer. Runs wait for the next sweep, and nobody sees workers or live progress."
        yield Alarm("bad", "Redis away", away)
        return
    if not alive.workers:
        yield Alarm("bad", "No worker", "No worker was seen in the last minute. Nothing is sent until one starts.")
    if alive.scheduler is None:
        late = "The scheduler was not seen in the last 30 seconds. Nothing is polled, and nothing is tried again."
        yield Alarm("bad", "No scheduler", late)
    since: datetime | None = counts["due_since"]
    if since and datetime.now(UTC) - since > LATE:
        text = f"{_counted(counts['due'], 'subscription')} due, the oldest for {_for(since)}. Workers do not keep up."
        yield Alarm("warn", "Queue is late", text, reverse("admin:queue"), "Show the queue")


def _of_failures(numbers: dict[str, Any]) -> Iterator[Alarm]:
    counts = numbers["counts"]
    if held := numbers["held"]:
        first = held[0]["name"]
        whose = first if counts["held"] == 1 else f"{first} and {counts['held'] - 1:,} more"
        text = f"{whose}: a run would delete most of what the app has. It waits for your decision."
        url = row_url("subscription", held[0]["id"]) if counts["held"] == 1 else "#held"
        yield Alarm("bad", f"{counts['held']:,} held", text, url, "Decide")
    if counts["failed"]:
        worst = numbers["causes"][0]
        more = f", and {counts['causes'] - 1:,} more {_plural(counts['causes'] - 1, 'cause')}"
        text = f"{worst['error_kind']} at {worst['host'] or 'a local path'} ({worst['failed']:,})"
        text += more if counts["causes"] > 1 else ""
        yield Alarm("bad", f"{counts['failed']:,} failed", text, failures_url(), "Show failures")


def _of_others(numbers: dict[str, Any], alive: Alive | None) -> Iterator[Alarm]:
    counts = numbers["counts"]
    if circuits := numbers["circuits"]:
        one = circuits[0]
        more = f" and {counts['circuits'] - 1:,} more" if counts["circuits"] > 1 else ""
        text = f"{one['name']}{more}: it failed too often in a row, and is tried with one probe at a time."
        word = f"{counts['circuits']:,} open {_plural(counts['circuits'], 'circuit')}"
        if more:
            yield Alarm("warn", word, text, "#circuits", "Show them")
        elif one["of"] == "host":
            url = f"{reverse('admin:syncsvc_repository_changelist')}?{urlencode({'q': one['name']})}"
            yield Alarm("warn", word, text, url, "Show its repositories")
        else:
            yield Alarm("warn", word, text, row_url(one["of"], one["id"]), f"Open the {one['of']}")
    if is_polled(alive) and (stale := numbers["stale"]):
        more = f" and {counts['stale'] - 1:,} more" if counts["stale"] > 1 else ""
        text = f"{stale[0]['name']}{more}: git has not answered for three polls."
        yield Alarm("warn", f"{counts['stale']:,} stale", text, "#stale", "Show them")
    if gone := numbers["gone"]:
        more = f" and {counts['gone'] - 1:,} more" if counts["gone"] > 1 else ""
        text = f"{gone[0]['name']}{more}: {gone[0]['pause_reason']}"
        paused = f"{reverse('admin:syncsvc_app_changelist')}?is_active__exact=0"
        url, action = (paused, "Show paused apps") if more else (row_url("app", gone[0]["id"]), "Open the app")
        yield Alarm("warn", f"{counts['gone']:,} gone", text, url, action)


def _for(since: datetime) -> str:
    return relative(since - datetime.now(UTC)).removesuffix(" ago")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {_plural(number, noun)} {'is' if number == 1 else 'are'}"


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"
