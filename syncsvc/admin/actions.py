"""Retry and re-sync: of one subscription, of an app's or a repository's, and of what is chosen in the list."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from syncsvc.admin import answers
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button, ButtonsMixin, Confirmation
from syncsvc.admin.confirm import Question, confirm
from syncsvc.admin.lists import chosen_again
from syncsvc.admin.operation_bar import bars_for
from syncsvc.admin.parts import is_htmx
from syncsvc.admin.pausing import PauseActions
from syncsvc.admin.status import RESYNC, RETRY, changed_status, statuses
from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, Repository, Subscription
from syncsvc.models.subscription import SubscriptionQuerySet
from syncsvc.operations import single
from syncsvc.operations.asker import Asker
from syncsvc.operations.scope import Scope
from syncsvc.words import counted, size

RETRY_FAILED = Button(
    "retry_failed",
    "Retry all failed",
    "Send what is missing of every failed subscription",
    "bulk_retry",
    confirms="retry_failed",
    failed="Failed to start bulk retry",
)
RESYNC_ALL = Button(
    "resync_all",
    "Re-sync all",
    "Send every file of every subscription again",
    "bulk_resync",
    confirms="resync_all",
    failed="Failed to queue re-sync",
)
BULK_BUTTONS = (RETRY_FAILED, RESYNC_ALL)
BAR_OF: dict[str, str] = {Operation.Kind.RETRY: "retry_failed", Operation.Kind.RESYNC: "resync_all"}
# Of a list's address what says how it is shown, and not which rows it has.
SHOWN_ONLY = ("p", "o", "all", "e", "_facets")


class BulkButtons(PauseActions, ButtonsMixin):
    """For the pages of App and Repository."""

    def retry_failed(self, request: HttpRequest, row: App | Repository) -> HttpResponse:
        return self._confirm(request, row, Operation.Kind.RETRY)

    def resync_all(self, request: HttpRequest, row: App | Repository) -> HttpResponse:
        return self._confirm(request, row, Operation.Kind.RESYNC)

    def _confirm(self, request: HttpRequest, row: App | Repository, kind: Operation.Kind) -> HttpResponse:
        of_app = isinstance(row, App)
        scope = Scope(kind=kind, app_id=row.pk if of_app else None, repository_id=None if of_app else row.pk)
        return confirm(request, Question(scope=scope, back=self.page(row), back_title=str(row), here=True))

    def buttons_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """An operation over it that still goes on shows its bar in place of the button that started it."""
        bars = bars_for(request, app_id=row.pk) if isinstance(row, App) else bars_for(request, repository_id=row.pk)
        running = {BAR_OF[bar["operation"]["kind"]] for bar in bars if not bar["ended"]}
        context = super().buttons_context(request, row)
        shown = [button for button in context["buttons"] if button["press"] not in running]
        return {**context, "buttons": shown, "bars": bars}


class SubscriptionButtons(ButtonsMixin):
    """Single ones."""

    buttons: tuple[Button, ...] = (RETRY, RESYNC)

    def get_urls(self) -> list[URLPattern]:
        view: Callable[..., HttpResponse] = self.admin_site.admin_view(statuses)
        return [path("statuses/", view, name="syncsvc_subscription_statuses"), *super().get_urls()]

    def retry(self, request: HttpRequest, row: Subscription) -> None:
        _ask(request, row, single.retry, queued="Retry queued for", failed="Failed to queue retry")

    def resync(self, request: HttpRequest, row: Subscription) -> None:
        resync_one(request, row)

    def ask_resync(self, request: HttpRequest, row: Subscription) -> Confirmation:
        return ask_one_resync(row)

    def pressed(self, request: HttpRequest, row: Subscription, button: Button) -> HttpResponse:
        """Its badge changes wherever it stands on the page."""
        if not is_htmx(request):
            return super().pressed(request, row, button)
        return answers.done(request, changed=row.pk, content=changed_status(row.pk))


def resync_one(request: HttpRequest, subscription: Subscription) -> None:
    _ask(request, subscription, single.resync, queued="Re-sync queued for", failed="Failed to queue re-sync")


def ask_one_resync(subscription: Subscription) -> Confirmation:
    repository = subscription.repository
    newest = repository.snapshots.order_by("-id").first() or subscription.snapshot
    files = f"about {counted(newest.files, 'file')} ({size(newest.bytes)})" if newest else "every file"
    title = f"Re-sync {repository.name} for {subscription.app.name}?"
    return Confirmation(title=title, effect=f"This sends {files} again.", label="Re-sync")


class SubscriptionActions(PauseActions):
    """In the list: what is ticked, or all that the filters leave, without thousands of ids in a form."""

    actions = ("retry_selected", "resync_selected", *PauseActions.actions)
    dialog_actions = actions

    def has_bulk_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("syncsvc.bulk_retry")

    def has_bulk_resync_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("syncsvc.bulk_resync")

    @admin.action(description="Retry", permissions=["bulk_retry"])
    def retry_selected(self, request: HttpRequest, queryset: SubscriptionQuerySet) -> HttpResponse:
        return _confirm_selected(request, queryset, "retry_selected", Operation.Kind.RETRY)

    @admin.action(description="Re-sync", permissions=["bulk_resync"])
    def resync_selected(self, request: HttpRequest, queryset: SubscriptionQuerySet) -> HttpResponse:
        return _confirm_selected(request, queryset, "resync_selected", Operation.Kind.RESYNC)


def _confirm_selected(
    request: HttpRequest, rows: SubscriptionQuerySet, action: str, kind: Operation.Kind
) -> HttpResponse:
    """The confirmation comes back as the same action: Django brings the rows anew, the digest bounds them."""
    hidden = chosen_again(request, rows, action)
    if request.POST.get("select_across") == "1":
        filters = request.GET.copy()
        for name in SHOWN_ONLY:
            filters.pop(name, None)
        scope, selected = Scope(kind=kind, filters=filters.urlencode(), rows=rows), rows.count()
    else:
        ids = list(rows.order_by().values_list("pk", flat=True))
        scope, selected = Scope(kind=kind, ids=ids), len(ids)
    back = request.get_full_path()
    question = Question(scope=scope, back=back, back_title="Subscriptions", hidden=hidden, selected=selected)
    return confirm(request, question)


def _ask(
    request: HttpRequest,
    subscription: Subscription,
    ask: Callable[[UUID, Asker], single.Queued],
    *,
    queued: str,
    failed: str,
) -> None:
    try:
        answer = ask(subscription.pk, asker_of(request))
    except Refused as refusal:
        messages.error(request, f"{failed}: {refusal}")
        return
    messages.success(request, f"{queued} {subscription.repository.name}")
    if answer.note:
        messages.info(request, answer.note)
