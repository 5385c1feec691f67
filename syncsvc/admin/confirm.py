"""Bulk operations from the console: a page with the preview, whose digest the confirmation sends back."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from syncsvc.admin.cells import size_text
from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, Repository
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.preview import Preview, preview, read_digest
from syncsvc.operations.scope import Scope

PERMISSIONS = {Operation.Kind.RETRY: "syncsvc.bulk_retry", Operation.Kind.RESYNC: "syncsvc.bulk_resync"}
LABELS = {Operation.Kind.RETRY: "Retry", Operation.Kind.RESYNC: "Re-sync"}
FAILED = {Operation.Kind.RETRY: "Failed to start bulk retry", Operation.Kind.RESYNC: "Failed to queue re-sync"}
PLURALS = {"subscription": "subscriptions", "repository": "repositories", "app": "apps", "file": "files"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`back` and `back_title` are where one comes from, `hidden` is what the form must send beside the digest.

    `selected` is how many rows were, of which not all may qualify.
    """

    scope: Scope
    back: str
    back_title: str
    hidden: Sequence[tuple[str, str]] = ()
    selected: int | None = None
    retries: Operation | None = None


def asker_of(request: HttpRequest) -> Asker:
    assert isinstance(request.user, AbstractBaseUser)  # noqa: S101 - for the type only: the site lets nobody else in
    return Asker(
        name=request.user.get_username(),
        source=Operation.Source.CONSOLE,
        user=request.user,
        address=request.META.get("REMOTE_ADDR") or None,
    )


def confirm(request: HttpRequest, question: Question) -> HttpResponse:
    """The page that asks, and what follows when its form comes back. Either needs the permission."""
    kind = question.scope.kind
    if not request.user.has_perm(PERMISSIONS[kind]):
        raise PermissionDenied
    if request.POST.get("digest"):
        try:
            return _start(request, question)
        except Refused as refusal:
            messages.error(request, f"{FAILED[kind]}: {refusal}")
            if refusal.kind not in ("confirm", "conflict"):
                return HttpResponseRedirect(question.back)
    shown = preview(question.scope)
    if not shown.total:
        if not request.POST.get("digest"):
            messages.error(request, f"{FAILED[kind]}: {_nothing(question)}")
        return HttpResponseRedirect(question.back)
    return TemplateResponse(request, "admin/syncsvc/confirm.html", _context(request, question, shown))


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
    text = f"{LABELS[question.scope.kind]} queued for {counted(operation.total, _noun(question.scope))}"
    if gone := read_digest(digest).total - operation.total:
        text += f"; {gone:,} of those that were shown no longer qualify"
    messages.success(request, text)
    if not request.user.has_perm("syncsvc.view_operation"):
        return HttpResponseRedirect(question.back)
    return HttpResponseRedirect(reverse("admin:syncsvc_operation_change", args=[operation.pk]))


def _context(request: HttpRequest, question: Question, shown: Preview) -> dict[str, object]:
    kind = question.scope.kind
    return {
        **admin.site.each_context(request),
        "title": _title(question.scope, shown),
        "effect": _effect(question.scope, shown),
        "shown": shown,
        "tables": [(title, counts) for title, counts in _tables(kind, shown) if counts],
        "label": LABELS[kind],
        "question": question,
    }


def _title(scope: Scope, shown: Preview) -> str:
    if scope.kind == Operation.Kind.RETRY:
        return f"Retry {counted(shown.total, 'subscription', 'failed ')}?"
    if scope.app_id is not None:
        return f"Re-sync all repositories for {App.objects.get(id=scope.app_id).name}?"
    if scope.repository_id is not None:
        return f"Re-sync {Repository.objects.get(id=scope.repository_id).name} for all apps?"
    return f"Re-sync {counted(shown.total, 'subscription')}?"


def _effect(scope: Scope, shown: Preview) -> str:
    if scope.kind == Operation.Kind.RETRY:
        return "What is missing is sent now, and the retries begin to count anew."
    files = f"about {counted(shown.files, 'file')} ({size_text(shown.bytes)})"
    return f"This will re-send all files for {counted(shown.total, _noun(scope))}: {files}."


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


def counted(number: int, noun: str, adjective: str = "") -> str:
    return f"{number:,} {adjective}{noun if number == 1 else PLURALS[noun]}"
