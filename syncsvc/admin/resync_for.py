"""The button "Re-sync for…" of a repository: which apps, and then the confirmation for those."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncsvc.admin import answers
from syncsvc.admin.actions import ask_one_resync, resync_one
from syncsvc.admin.buttons import Button, ButtonsMixin, ask
from syncsvc.admin.confirm import Question, confirm
from syncsvc.admin.parts import is_htmx, render_part
from syncsvc.ids import uuid_of
from syncsvc.models import Operation, Repository, Subscription
from syncsvc.operations.scope import Scope

TEMPLATE = "admin/syncsvc/resync_for.html"
OFFERED = 500
RESYNC_FOR = Button(
    "resync_for",
    "Re-sync for…",
    "Send every file again to some of the apps",
    "bulk_resync",
    confirms="ask_resync_for",
    in_place=True,
    failed="Failed to queue re-sync",
)


class ResyncForButton(ButtonsMixin):
    """For the page of Repository. The apps that were chosen stand in the address, whose POST then confirms."""

    def ask_resync_for(self, request: HttpRequest, row: Repository) -> HttpResponse:
        chosen = _chosen(request, row)
        return self._confirm_chosen(request, row, chosen) if chosen else self._choose(request, row)

    def resync_for(self, request: HttpRequest, row: Repository) -> HttpResponse | None:
        chosen = _chosen(request, row)
        if not chosen:
            messages.error(request, "Failed to queue re-sync: no app was chosen.")
            return None
        if len(chosen) > 1:
            return self._confirm_chosen(request, row, chosen)
        if not request.user.has_perm("syncsvc.resync_subscription"):
            raise PermissionDenied
        resync_one(request, chosen[0])
        return None

    def _choose(self, request: HttpRequest, row: Repository) -> HttpResponse:
        offered = _active(row).order_by("app__name")[: OFFERED + 1]
        context: dict[str, Any] = {
            "title": f"Re-sync {row} for…",
            "offered": offered[:OFFERED],
            "more": len(offered) > OFFERED,
            "action": request.path,
            "back": self.page(row),
            "back_title": str(row),
        }
        if not offered:
            messages.error(request, "Failed to queue re-sync: no app that is not paused follows it.")
            return answers.done(request) if is_htmx(request) else self.pressed(request, row, RESYNC_FOR)
        if is_htmx(request):
            return render_part(request, f"{TEMPLATE}#choice", {**context, "in_dialog": True})
        return TemplateResponse(request, TEMPLATE, {**admin.site.each_context(request), **context})

    def _confirm_chosen(self, request: HttpRequest, row: Repository, chosen: list[Subscription]) -> HttpResponse:
        back, title = self.page(row), str(row)
        if len(chosen) == 1:
            asked = ask_one_resync(chosen[0])
            return ask(request, asked, back=back, back_title=title, failed=RESYNC_FOR.failed)
        scope = Scope(kind=Operation.Kind.RESYNC, ids=[one.pk for one in chosen])
        return confirm(request, Question(scope=scope, back=back, back_title=title))


def _active(row: Repository) -> Any:
    return row.subscriptions.active().select_related("app", "repository", "snapshot")


def _chosen(request: HttpRequest, row: Repository) -> list[Subscription]:
    """Of the repository's own only."""
    ids = [id for text in request.GET.getlist("subscription")[:OFFERED] if (id := uuid_of(text))]
    return list(_active(row).filter(pk__in=ids)) if ids else []
