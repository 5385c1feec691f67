"""How subscriptions stand, and whether the system works."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper
from django.utils import timezone

from syncsvc.management import base
from syncsvc.management.selectors import add_selectors, selected
from syncsvc.models import Status
from syncsvc.models.app import throttle_lasts_until
from syncsvc.models.run import runs_at
from syncsvc.models.status import AWAITS_FIRST_COMMIT, is_retrying, is_throttled
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.sync.health import Health, health
from syncsvc.words import counted, left_out_text, relative, span

PAGE = 2_000
COLUMNS = (
    *("id", "app__name", "repository__name", "status", "is_active", "app__is_active", "repository__is_active"),
    *("snapshot__commit", "snapshot__files", "retry_count", "error_kind", "last_error", "due_at", "last_success_at"),
    *("trigger", "app__throttled_until", "app__probe_until"),
)
LEFT_OUT = ("submodules", "long_paths", "large_files", "unsafe_paths", "unsafe_left_out")


class Command(base.Command):
    help = "Shows how subscriptions stand, and whether the system works."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selectors(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        # Counted while the rows go by: the totals are those of the rows, in one query however many.
        totals: dict[str, int] = dict.fromkeys(Status.values, 0)
        rows = _counted(_rows(selected(options)), totals)
        state = health()
        return base.Answer(
            document={"subscriptions": rows, "totals": totals, "health": state}, lines=_lines(rows, totals, state)
        )


def _rows(subscriptions: SubscriptionQuerySet) -> Iterator[dict[str, Any]]:
    """As `status --json` shows them, read in pages by one query."""
    is_empty = ExpressionWrapper(AWAITS_FIRST_COMMIT, output_field=BooleanField())
    found = subscriptions.order_by("app__name", "repository__name").values_list(
        *COLUMNS, *(f"snapshot__{column}" for column in LEFT_OUT), is_empty
    )
    for id, app, repository, status, active, app_active, repository_active, *rest in found.iterator(PAGE):
        commit, files, retry_count, error_kind, last_error, due_at, last_success_at, trigger, *others, is_empty = rest
        app_until = throttle_lasts_until(*others[:2])
        throttled = is_throttled(status, error_kind, app_is_throttled=app_until is not None)
        yield {
            "id": id,
            "app": app,
            "repository": repository,
            "status": status,
            "paused": not (active and app_active and repository_active),
            "commit": commit,
            "files": files,
            "left_out": _left_out(*others[2:]) if commit else None,
            "unsafe_sent": 0 if others[-1] else others[-2] or 0,
            "retry_count": retry_count,
            "error_kind": error_kind or None,
            "last_error": last_error or None,
            "due_at": due_at,
            "last_success_at": last_success_at,
            "awaits_first_commit": is_empty,
            "throttled_until": runs_at(due_at, trigger, app_until) if throttled else None,
        }


def _left_out(submodules: int, long_paths: int, large_files: int, unsafe: int | None, left_out: bool) -> dict[str, int]:
    return {
        "submodules": submodules,
        "long_paths": long_paths,
        "large_files": large_files,
        "unsafe_paths": unsafe or 0 if left_out else 0,
    }


def _counted(rows: Iterator[dict[str, Any]], totals: dict[str, int]) -> Iterator[dict[str, Any]]:
    for row in rows:
        totals[row["status"]] += 1
        yield row


def _lines(rows: Iterator[dict[str, Any]], totals: dict[str, int], state: Health) -> Iterator[str]:
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds["paused"] += row["paused"]
        kinds["retrying"] += is_retrying(row["status"], row["error_kind"] or "")
        kinds["throttled"] += row["throttled_until"] is not None
        kinds["waiting for a first commit"] += row["awaits_first_commit"]
        yield _line(row)
    notes = "".join(f", {count:,} {kind}" for kind, count in kinds.items() if count)
    statuses = ", ".join(f"{number:,} {status}" for status, number in totals.items())
    yield f"{counted(sum(totals.values()), 'subscription')}: {statuses}{notes}"
    for name, trouble in state["trouble"].items():
        yield f"worker {name}: {trouble['text']}"
    database = "answers" if state["database"] else "DOES NOT ANSWER"
    scheduler = "seen" if state["scheduler"] else "NOT SEEN"
    workers = counted(state["workers"], "worker")
    yield f"database {database}, redis {_redis(state)}, scheduler {scheduler}, {workers} seen"


def _redis(state: Health) -> str:
    if error := state.get("redis_error"):
        return f"{error.upper()}: no worker is woken, and none can be seen"
    return "answers" if state["redis"] else "DOES NOT ANSWER"


def _line(row: dict[str, Any]) -> str:
    word = "waiting for its first commit" if row["awaits_first_commit"] else row["status"]
    words = [f"{row['app']}/{row['repository']}: {word}"]
    if row["paused"]:
        words.append("paused")
    if row["throttled_until"]:
        words.append(f"throttled until {row['throttled_until']:%Y-%m-%d %H:%M:%S} UTC")
    if row["commit"]:
        words.append(f"{counted(row['files'], 'file')} at {row['commit'][:12]}")
        if left_out := left_out_text(**row["left_out"]):
            words.append(f"left out: {left_out}")
    if row["last_success_at"] and not row["awaits_first_commit"]:
        words.append(f"synced {relative(row['last_success_at'] - timezone.now())}")
    if row["error_kind"]:
        words.append(f"{row['error_kind']}: {row['last_error']}")
        if row["due_at"] and not row["paused"] and not row["throttled_until"]:
            words.append(_next_try(row))
    elif row["last_error"]:
        words.append(row["last_error"])
    return ", ".join(words)


def _next_try(row: dict[str, Any]) -> str:
    seconds = (row["due_at"] - timezone.now()).total_seconds()
    return "tries again now" if seconds < 1 else f"tries again in {span(seconds)}"
