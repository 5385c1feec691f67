"""What is wrong, in words, the worst first: each with whose it is and where to go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from syncsvc.admin.arrival import tries_again_text
from syncsvc.admin.tones import Tone
from syncsvc.error_kinds import POLICIES
from syncsvc.sync.health import Alive
from syncsvc.types import ErrorKind
from syncsvc.words import clock, counted, plural, span

# What is due is claimed within seconds; later than this, workers do not keep up.
LATE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Alarm:
    """`word` is the text of the badge, `action` that of the link."""

    tone: Tone
    word: str
    text: str
    url: str = ""
    action: str = ""


def alarms(numbers: dict[str, Any], alive: Alive | None) -> list[Alarm]:
    found = [*_of_processes(numbers["counts"], alive), *_of_failures(numbers), *_of_others(numbers, alive)]
    return sorted(found, key=lambda alarm: alarm.tone != "bad")


def is_polled(alive: Alive | None) -> bool:
    """Else it is not git that is to blame where a repository was not checked."""
    return alive is not None and not alive.refusal and alive.scheduler is not None and bool(alive.workers)


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
    if alive.refusal:
        text = f"Redis takes no writes: {alive.refusal}. Workers wait until it does; what runs already goes on."
        yield Alarm("bad", "Redis refuses", text)
        return
    if not alive.workers:
        yield Alarm("bad", "No worker", "No worker was seen in the last minute. Nothing is sent until one starts.")
    if alive.scheduler is None:
        late = "The scheduler was not seen in the last 30 seconds. Nothing is polled, and nothing is tried again."
        yield Alarm("bad", "No scheduler", late)
    for name, trouble in alive.trouble.items():
        yield Alarm("bad", "Worker in trouble", f"{name}: {trouble['text']}")
    since: datetime | None = counts["due_since"]
    age = datetime.now(UTC) - since if since else timedelta()
    if age > LATE:
        due = f"{counted(counts['due'], 'subscription')} {plural(counts['due'], 'is', 'are')} due"
        text = f"{due}, the oldest for {span(age.total_seconds())}. Workers do not keep up."
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
        more = f", and {counted(counts['causes'] - 1, 'more cause')}"
        text = f"{_cause_text(worst)} ({worst['failed']:,})"
        text += more if counts["causes"] > 1 else ""
        yield Alarm("bad", f"{counts['failed']:,} failed", text, failures_url(), "Show failures")
    if counts["retrying"]:
        yield _of_retrying(numbers)
    if failing := counts["failing_runs"]:
        text = (
            f"{counted(failing, 'run')} {plural(failing, 'goes', 'go')} on in which some files were not taken so far."
        )
        yield Alarm(
            "warn", f"{failing:,} not all taken", text, f"{reverse('admin:queue')}?state=running", "Show what runs"
        )
    if again := counts["asked_again"]:
        failed = f"{counted(again, 'subscription')} failed before, and {plural(again, 'has', 'have')}"
        text = f"{failed} not succeeded since somebody asked for another run."
        yield Alarm("warn", f"{again:,} asked again", text, reverse("admin:queue"), "Show the queue")


def _of_retrying(numbers: dict[str, Any]) -> Alarm:
    """Failed last time: the next try comes by itself, or goes on."""
    retrying = numbers["counts"]["retrying"]
    causes = [cause for cause in numbers["causes"] if cause["retrying"]]
    causes.sort(key=lambda cause: -cause["retrying"])
    most = f"{_cause_text(causes[0])} ({causes[0]['retrying']:,})" if causes else "several causes"
    more = " and others" if causes and causes[0]["retrying"] < retrying else ""
    text = f"{most}{more}. {plural(retrying, 'It', 'They')} {tries_again_text(numbers['counts'])}."
    return Alarm("warn", f"{retrying:,} retrying", text, failures_url(state="retrying"), "Show them")


def _cause_text(cause: dict[str, Any]) -> str:
    return f"{cause['error_kind'] or 'unknown'} at {cause['host'] or 'a local path'}"


def _of_others(numbers: dict[str, Any], alive: Alive | None) -> Iterator[Alarm]:
    counts = numbers["counts"]
    if circuits := numbers["circuits"]:
        one = circuits[0]
        more = _and_more(counts["circuits"])
        text = f"{one['name']}{more}: it failed too often in a row, and is tried with one probe at a time."
        word = counted(counts["circuits"], "open circuit")
        if more:
            yield Alarm("warn", word, text, "#circuits", "Show them")
        elif one["of"] == "host":
            yield Alarm("warn", word, text, _of_host(one["name"]), "Show its repositories")
        else:
            yield Alarm("warn", word, text, row_url(one["of"], one["id"]), f"Open the {one['of']}")
    if throttled := numbers["throttled"]:
        yield _of_throttled(throttled, counts["throttled"])
    if is_polled(alive) and (stale := numbers["stale"]):
        more = _and_more(counts["stale"])
        text = f"{stale[0]['name']}{more}: git has not answered for three polls."
        yield Alarm("warn", f"{counts['stale']:,} stale", text, "#stale", "Show them")
    if unreached := numbers["unreached"]:
        yield _of_unreached(unreached[0], counts["unreached"], counts["unfetched"])
    if quiet := numbers["quiet"]:
        yield _of_quiet(quiet[0], counts["quiet"])
    if ending := numbers["ending"]:
        yield _of_ending(ending[0], counts["ending"])
    if gone := numbers["gone"]:
        more = _and_more(counts["gone"])
        text = f"{gone[0]['name']}{more}: {gone[0]['pause_reason']}"
        paused = f"{reverse('admin:syncsvc_app_changelist')}?is_active__exact=0"
        url, action = (paused, "Show paused apps") if more else (row_url("app", gone[0]["id"]), "Open the app")
        yield Alarm("warn", f"{counts['gone']:,} gone", text, url, action)


def _of_ending(one: dict[str, Any], number: int) -> Alarm:
    """The client certificate of an app that has ended, or ends within ENDS_SOON_DAYS; the first one."""
    ended = one["until"] <= datetime.now(UTC)
    when = f"ended on {one['until']:%Y-%m-%d}" if ended else f"ends on {one['until']:%Y-%m-%d}"
    text = f"{one['name']}{_and_more(number)}: the client certificate {when}. Give the app a renewed one."
    word = counted(number, "certificate")
    return Alarm("bad" if ended else "warn", word, text, row_url("app", one["id"]), "Open the app")


def _of_unreached(one: dict[str, Any], number: int, unfetched: int) -> Alarm:
    """`unfetched` of them answer, but have a commit that cannot be fetched."""
    kept_from = "fetched" if unfetched == number else "reached or fetched" if unfetched else "reached"
    word = f"{number:,} not {kept_from}"
    label = POLICIES[ErrorKind(one["error_kind"])].label
    text = f"{one['name']}{_and_more(number)}: {label}. The next check comes by itself."
    if number > 1:
        return Alarm("warn", word, text, "#unreached", "Show them")
    return Alarm("warn", word, text, row_url("repository", one["id"]), "Open the repository")


def _of_quiet(one: dict[str, Any], number: int) -> Alarm:
    until = clock(one["until"], now=datetime.now(UTC))
    waits = f"{counted(one['repositories'], 'repository')} {plural(one['repositories'], 'waits', 'wait')}"
    text = f"{one['name']} asked to be left alone until {until}. {waits} for that, and nothing is lost."
    word = f"{counted(number, 'host')} left alone"
    return Alarm("warn", word, text, _of_host(one["name"]), f"Show the repositories of {one['name']}")


def _and_more(number: int) -> str:
    """`and 3 more` after the first of so many."""
    return f" and {number - 1:,} more" if number > 1 else ""


def _of_host(name: str) -> str:
    """The list of the repositories of a host."""
    return f"{reverse('admin:syncsvc_repository_changelist')}?{urlencode({'q': name})}"


def _of_throttled(apps: list[dict[str, Any]], number: int) -> Alarm:
    word = f"{number:,} throttled"
    if number > 1:
        text = f"{apps[0]['name']} and {number - 1:,} more: their endpoints asked for fewer requests. Nothing is lost."
        return Alarm("warn", word, text, "#throttled", "Show them")
    one, now = apps[0], datetime.now(UTC)
    until = f"until {clock(one['until'], now=now)}" if one["until"] > now else "and is tried again now"
    waiting = f"{counted(one['waiting'], 'subscription')} {plural(one['waiting'], 'waits', 'wait')}"
    text = f"{one['name']}: its endpoint asked for fewer requests, {until}. {waiting}, and nothing is lost."
    return Alarm("warn", word, text, row_url("app", one["id"]), "Open the app")
