"""Retry and re-sync: of one subscription, of an app's or a repository's, and of what is chosen in the list."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse

from syncsvc.admin.bases import ModelAdmin
from syncsvc.admin.buttons import Button, ButtonsMixin
from syncsvc.admin.confirm import Question, asker_of, confirm
from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, Repository, Subscription
from syncsvc.models.transitions import SubscriptionQuerySet
from syncsvc.operations import single
from syncsvc.operations.asker import Asker
from syncsvc.operations.scope import Scope

BULK_BUTTONS = (
    Button("retry_failed", "Retry all failed", "Send what is missing of every failed subscription", "bulk_retry"),
    Button("resync_all", "Re-sync all", "Send every file of every subscription again", "bulk_resync"),
)
# Of a list's address what says how it is shown, and not which rows it has.
SHOWN_ONLY = ("p", "o", "all", "e", "_facets")


class BulkButtons(ButtonsMixin):
    """For the pages of App and Repository."""

    def retry_failed(self, request: HttpRequest, row: App | Repository) -> HttpResponse:
        return self._confirm(request, row, Operation.Kind.RETRY)

    def resync_all(self, request: HttpRequest, row: App | Repository) -> HttpResponse:
        return self._confirm(request, row, Operation.Kind.RESYNC)

    def _confirm(self, request: HttpRequest, row: App | Repository, kind: Operation.Kind) -> HttpResponse:
        of_app = isinstance(row, App)
        scope = Scope(kind=kind, app_id=row.pk if of_app else None, repository_id=None if of_app else row.pk)
        return confirm(request, Question(scope=scope, back=self.page(row), back_title=str(row)))


class SubscriptionButtons(ButtonsMixin):
    """Single ones."""

    buttons = (
        Button("retry", "Retry", "Run it now, as if it had never failed", "retry_subscription"),
        Button("resync", "Re-sync", "Send every file again, as if the app had none", "resync_subscription"),
    )

    def retry(self, request: HttpRequest, row: Subscription) -> None:
        _ask(request, row, single.retry, queued="Retry queued for", failed="Failed to queue retry")

    def resync(self, request: HttpRequest, row: Subscription) -> None:
        _ask(request, row, single.resync, queued="Re-sync queued for", failed="Failed to queue re-sync")


class SubscriptionActions(ModelAdmin):
    """In the list: what is ticked, or all that the filters leave, without thousands of ids in a form."""

    actions = ("retry_selected", "resync_selected")

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
    across = request.POST.get("select_across") == "1"
    if across:
        filters = request.GET.copy()
        for name in SHOWN_ONLY:
            filters.pop(name, None)
        scope = Scope(kind=kind, filters=filters.urlencode(), rows=rows)
        ticked = ["all"]  # Django asks for one
    else:
        ids = list(rows.order_by().values_list("pk", flat=True))
        scope = Scope(kind=kind, ids=ids)
        ticked = [str(id) for id in ids]
    hidden = [("action", action), ("select_across", "1" if across else "0")]
    hidden += [(ACTION_CHECKBOX_NAME, value) for value in ticked]
    selected = rows.count() if across else len(ticked)
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
