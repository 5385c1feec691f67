"""What runs, is queued, is due and waits: of each queue and worker, and one by one."""

import hashlib
import uuid
from collections import Counter
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.http import urlencode

from syncsvc import wakeup
from syncsvc.admin import kept
from syncsvc.admin.moments import with_moments
from syncsvc.admin.panels import Panels, answer_page, shared
from syncsvc.admin.parts import sees
from syncsvc.admin.tones import OF_QUEUED
from syncsvc.models import Subscription
from syncsvc.statistics.queue import STATES, queue_numbers
from syncsvc.sync.health import Alive, alive

TEMPLATE = "admin/syncsvc/queue.html"
NAME = "queue"
LANES = ("live", "bulk")
SEARCH_LENGTH = 200
IDLE = {"count": 0, "moment": None}
FEW = 4  # shards, up to which empty queues are shown too


def queue(request: HttpRequest) -> HttpResponse:
    if not sees(request, Subscription):
        raise PermissionDenied
    state, search = _asked(request)
    return answer_page(request, TEMPLATE, PANELS, lambda _: {"title": "Queue", "state": state, "search": search})


def _asked(request: HttpRequest) -> tuple[str, str]:
    """The state and the search in the query of the address."""
    state, search = request.GET.get("state", ""), request.GET.get("q", "").strip()[:SEARCH_LENGTH]
    return state if state in STATES else "", search


def _now(request: HttpRequest, row: None) -> str:
    state, search = _asked(request)
    return kept.kept(_name(state, search), lambda: _render(state, search))


PANELS: Panels = {"now": shared("now", _now)}


def _name(state: str, search: str) -> str:
    """Under which it is kept."""
    asked = f"{state}:{search}".encode()
    return f"{NAME}:{hashlib.blake2b(asked, digest_size=8).hexdigest()}" if state or search else NAME


def _render(state: str, search: str) -> str:
    names = [f"{lane}.{shard}" for shard in range(settings.SYNC_QUEUES) for lane in LANES]
    numbers = with_moments(queue_numbers(state=state, search=search))
    seen = alive(names)
    counts = numbers["states"] or {}
    moves = any(counts.get(moving, {}).get("count") for moving in ("running", "queued", "due"))
    rows = numbers["rows"] or []
    for row in rows:
        row["queue"] = wakeup.queue_name("bulk" if row["bulk"] else "live", uuid.UUID(row["repository_id"]))
        row["tone"] = OF_QUEUED[row["state"]]
    asked = {name: value for name, value in (("q", search), ("state", state)) if value}
    return render_to_string(
        f"{TEMPLATE}#now",
        {
            "version": kept.VERSION,
            "moves": moves and seen is not None,
            "tabs": _tabs(counts, state, search),
            "rows": rows,
            "matching": numbers["matching"],
            "asked": asked,
            "polls": numbers["polls"],
            "queues": _queues(names, numbers["lanes"] or [], seen),
            "workers": _workers(numbers["workers"] or [], seen),
            "alive": seen,
        },
    )


def _tabs(counts: dict[str, Any], state: str, search: str) -> list[dict[str, Any]]:
    nothing = {"count": 0, "moment": None}
    return [
        {
            **counts.get(name, nothing),
            "title": name.capitalize(),
            "name": name,
            "url": f"?{urlencode({'state': name, **({'q': search} if search else {})})}",
            "current": name == state,
        }
        for name in STATES
    ]


def _queues(names: list[str], lanes: list[dict[str, Any]], seen: Alive | None) -> list[dict[str, Any]]:
    """Messages as Redis has them; runs as the database has them, which is what counts."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in lanes:
        name = wakeup.queue_name("bulk" if row["bulk"] else "live", _repository(row))
        counts[name, row["state"]] += row["count"]
    messages = dict(zip(names, seen.messages, strict=True)) if seen else {}
    rows = [
        {"name": n, "messages": messages.get(n), "queued": counts[n, "queued"], "running": counts[n, "running"]}
        for n in names
    ]
    if settings.SYNC_QUEUES <= FEW:
        return rows
    return [row for row in rows if row["messages"] or row["queued"] or row["running"]]


def _repository(row: dict[str, Any]) -> uuid.UUID:
    """Any, where there is but one shard."""
    return uuid.UUID(row["repository_id"]) if row["repository_id"] else uuid.UUID(int=0)


def _workers(running: list[dict[str, Any]], seen: Alive | None) -> list[dict[str, Any]]:
    """Those that were seen, and those that were not and still hold a run."""
    runs = {row["worker"]: row for row in running}
    here = {worker.name: worker.seconds for worker in seen.workers} if seen else {}
    names = sorted({*here, *runs})
    trouble = {name: found["text"] for name, found in seen.trouble.items()} if seen else {}
    return [
        {"name": name, "seconds": here.get(name), "trouble": trouble.get(name, ""), **runs.get(name, IDLE)}
        for name in names
    ]
