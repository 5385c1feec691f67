"""Bulk operations from the console: the preview is shown, and the confirmation sends its digest back."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from syncsvc.admin import answers
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Confirmation, ask
from syncsvc.admin.operation_bar import started_bar
from syncsvc.admin.parts import is_htmx
from syncsvc.exceptions import Refused
from syncsvc.models import Operation
from syncsvc.operations import bulk
from syncsvc.operations.preview import Preview, preview, read_digest, whole
from syncsvc.operations.scope import Scope
from syncsvc.operations.summary import verb
from syncsvc.words import counted, plural, size

PERMISSIONS = {Operation.Kind.RETRY: "syncsvc.bulk_retry", Operation.Kind.RESYNC: "syncsvc.bulk_resync"}
FAILED = {Operation.Kind.RETRY: "Failed to start bulk retry", Operation.Kind.RESYNC: "Failed to queue re-sync"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`back` and `back_title` are where one comes from, `hidden` is what the form must send beside the digest.

    `selected` is how many rows were, of which not all may qualify. `here`: the page has a live part that shows the
    operation's bar by itself; else htmx puts the bar at the head of the page.
    """

    scope: Scope
    back: str
    back_title: str
    hidden: Sequence[tuple[str, str]] = ()
    selected: int | None = None
    retries: Operation | None = None
    here: bool = False


def confirm(request: HttpRequest, question: Question) -> HttpResponse:
    """The confirmation, as dialog or page, and what follows when its form comes back. Either needs the permission."""
    kind = question.scope.kind
    if not request.user.has_perm(PERMISSIONS[kind]):
        raise PermissionDenied
    if request.POST.get("digest"):
        try:
            return _start(request, question)
        except Refused as refusal:
            messages.error(request, f"{FAILED[kind]}: {refusal}")
            if refusal.kind not in ("confirm", "conflict"):
                return _back(request, question)
    shown = preview(question.scope)
    if not shown.total:
        if not request.POST.get("digest"):
            messages.error(request, f"{FAILED[kind]}: {_nothing(question)}")
        return _back(request, question)
    return _asked(request, question, shown)


def _back(request: HttpRequest, question: Question) -> HttpResponse:
    return answers.done(request) if is_htmx(request) else HttpResponseRedirect(question.back)


def _start(request: HttpRequest, question: Question) -> HttpResponse:
    digest, typed = request.POST["digest"], request.POST.get("count", "").replace(",", "").strip()
    operation = bulk.start(
        question.scope,
        asker_of(request),
        digest=digest,
        typed_count=int(typed) if re.fullmatch(r"[0-9]{1,9}", typed) else None,
        # A confirmation that is sent twice starts one operation.
        idempotency_key=f"console:{hashlib.sha256(digest.encode()).hexdigest()}",
        retries=question.retries.id if question.retries else None,
    )
    text = f"{verb(question.scope.kind).capitalize()} queued for {counted(operation.total, _noun(question.scope))}"
    if gone := read_digest(digest).total - operation.total:
        text += f"; {gone:,} of those that were shown no longer qualify"
    messages.success(request, text)
    sees = request.user.has_perm("syncsvc.view_operation")
    if is_htmx(request) and question.retries is None:
        bar = "" if question.here or not sees else started_bar(operation.pk)
        return answers.done(request, changed=operation.pk, content=bar)
    if not sees:
        return HttpResponseRedirect(question.back)
    return HttpResponseRedirect(reverse("admin:syncsvc_operation_change", args=[operation.pk]))


def _asked(request: HttpRequest, question: Question, shown: Preview) -> HttpResponse:
    kind = question.scope.kind
    asked = Confirmation(
        title=_title(question, shown), effect=_effect(question.scope, shown), label=verb(kind).capitalize()
    )
    return ask(
        request,
        asked,
        back=question.back,
        back_title=question.back_title,
        failed=FAILED[kind],
        lines=_of_selected(question, shown),
        tables=[(title, counts) for title, counts in _tables(kind, shown) if counts],
        hidden=[("digest", shown.digest), *question.hidden],
        type_count=shown.total if shown.must_type_count else None,
    )


def _of_selected(question: Question, shown: Preview) -> list[str]:
    if not question.selected or question.selected == shown.total:
        return []
    were = plural(question.selected, "was", "were")
    only = "; only failed ones are retried" if question.scope.kind == Operation.Kind.RETRY else ""
    return [f"{question.selected:,} {were} selected{only}."]


def _title(question: Question, shown: Preview) -> str:
    scope = question.scope
    if scope.kind == Operation.Kind.RETRY:
        return f"Retry {counted(shown.total, 'failed notification')}?"
    if scope.app_id is not None:
        return f"Re-sync all repositories for {question.back_title}?"
    if scope.repository_id is not None:
        return f"Re-sync {question.back_title} for all apps?"
    return f"Re-sync {counted(shown.total, 'subscription')}?"


def _effect(scope: Scope, shown: Preview) -> str:
    if scope.kind == Operation.Kind.RETRY:
        return f"What is missing is sent now{_at_most(scope)}, and the retries begin to count anew."
    files = f"about {counted(shown.files, 'file')} ({size(shown.bytes)})"
    return f"This will re-send all files for {counted(shown.total, _noun(scope))}: {files}."


def _at_most(scope: Scope) -> str:
    """The limit of what a retry sends: only the run itself counts what is missing. Blank where it is not known."""
    files, size_in_bytes = whole(scope.qualifying())
    return f", at most about {counted(files, 'file')} ({size(size_in_bytes)})" if files else ""


def _tables(kind: Operation.Kind, shown: Preview) -> list[tuple[str, dict[str, int]]]:
    tables = [("By app", shown.by_app), ("Left out", shown.skipped)]
    return [*tables, ("By error", shown.by_error)] if kind == Operation.Kind.RETRY else tables


def _nothing(question: Question) -> str:
    if question.scope.kind == Operation.Kind.RETRY:
        return "there is no failed subscription that is not paused."
    return "there is no subscription that is not paused."


def _noun(scope: Scope) -> str:
    if scope.kind == Operation.Kind.RETRY:
        return "subscription"
    return "repository" if scope.app_id is not None else "app" if scope.repository_id is not None else "subscription"
