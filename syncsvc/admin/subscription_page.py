"""What the page of a subscription shows, panel by panel; each is asked for alone when something changed."""

import base64
import binascii
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from syncsvc.admin.again import SEND_AGAIN
from syncsvc.admin.cells import path_text
from syncsvc.admin.panels import Panel, Panels
from syncsvc.admin.search import path_bytes, path_prefix
from syncsvc.admin.status import followed_status, moves
from syncsvc.models import DeliveredFile, Subscription
from syncsvc.operations import single
from syncsvc.sync import preview

RUNS, ATTEMPTS, FILES = 12, 15, 30
ANSWER_SHOWN = 200  # bytes


def now(request: HttpRequest, row: Subscription) -> dict[str, Any]:
    """No query but for what is held."""
    return {
        "version": version(row),
        "moves": moves(row),
        "held": single.held_run(row),
        "pause_reason": single.pause_reason(row),
        # A failure of the remote that the subscription's own error does not say already.
        "remote_trouble": bool(row.repository.error_kind) and row.repository.error_kind != row.error_kind,
    }


def version(row: Subscription) -> str:
    """Another one means that something began, ended or was asked for since."""
    asked = f"{row.asked_at.timestamp():.3f}"
    run = (row.status, row.lease_token, row.stop_requested_at is not None)
    standing = (row.is_throttled, row.retry_count, row.epoch, row.paused)
    return ".".join(map(str, (asked, *run, *standing, row.repository.error_kind)))


def runs(request: HttpRequest, row: Subscription) -> dict[str, Any]:
    return {"runs": list(row.runs.defer("traceback")[:RUNS])}


def attempts(request: HttpRequest, row: Subscription) -> dict[str, Any]:
    found = list(row.attempts.order_by("-id")[:ATTEMPTS])
    return {"attempts": [(attempt, answer_start(attempt.answer)) for attempt in found]}


def answer_start(answer: bytes | memoryview) -> str:
    return " ".join(bytes(answer)[:ANSWER_SHOWN].decode(errors="replace").split())


def files(request: HttpRequest, row: Subscription) -> dict[str, Any]:
    """A page of the ledger in git's order, from a path on, within those that begin as asked."""
    prefix, after = request.GET.get("path", "").strip(), _decoded(request.GET.get("after", ""))
    found = DeliveredFile.objects.filter(subscription=row).order_by("path")
    if prefix:
        found = found.filter(path_prefix(path_bytes(prefix.removesuffix("*"))))
    if after:
        found = found.filter(path__gt=after)
    page = list(found[: FILES + 1])
    shown = page[:FILES]
    may = request.user.has_perm(f"syncsvc.{SEND_AGAIN.permission}") and not row.paused
    more = len(page) > FILES
    return {
        "files": [{"file": file, "forgotten": file.epoch < row.epoch, "button": _again(file, may)} for file in shown],
        "prefix": prefix,
        "after": bool(after),
        "first_files": f"?{urlencode({'path': prefix})}#files",
        "next_files": more and f"?{urlencode({'path': prefix, 'after': _encoded(shown[-1].path)})}#files",
    }


def _again(file: DeliveredFile, may: bool) -> dict[str, Any] | None:
    if not may:
        return None
    url = reverse("admin:syncsvc_deliveredfile_send_again", args=[file.pk])
    return {**SEND_AGAIN._asdict(), "label": "Send again", "title": f"Send {path_text(file.path)} again", "url": url}


def made_preview(request: HttpRequest, row: Subscription) -> dict[str, Any]:
    """What a worker found, and the page of it that is asked for; no query."""
    known = preview.known_preview(row.pk)
    if known is None or known.state != "ready":
        return {"preview": known}
    pages = Paginator(range(min(known.total, preview.LISTED)), preview.PAGE)
    page = pages.get_page(request.GET.get("preview"))
    return {
        "preview": known,
        "changes": preview.previewed(row.pk, page.number),
        "preview_page": page,
        "unlisted": max(known.total - preview.LISTED, 0),
    }


PANELS: Panels = {
    "now": Panel(context=now, tells=True),
    "runs": Panel(context=runs),
    "attempts": Panel(context=attempts),
    "files": Panel(context=files),
    "preview": Panel(context=made_preview, uses_page=True),
    "status": Panel(answer=followed_status),
}


def _encoded(path: bytes | memoryview) -> str:
    return base64.urlsafe_b64encode(bytes(path)).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        return b""
