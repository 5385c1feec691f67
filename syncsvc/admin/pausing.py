"""Pausing and resuming what is chosen in a list: ticked rows, or all that the filters leave."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core import signing
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from syncsvc.admin import answers
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Confirmation, ask
from syncsvc.admin.lists import ListMixin, chosen_again
from syncsvc.admin.parts import is_htmx
from syncsvc.exceptions import Refused
from syncsvc.models import Subscription
from syncsvc.operations import pausing
from syncsvc.words import counted

SALT = "syncsvc.admin.pausing"
DIGEST_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Change:
    action: str
    label: str
    done: str
    effect: str
    is_active: bool


PAUSE = Change(
    "pause_selected",
    "Pause",
    "Paused",
    "Nothing more is sent until they are resumed, and nothing is lost. A run that goes on stops in seconds.",
    is_active=False,
)
RESUME = Change(
    "resume_selected", "Resume", "Resumed", "What became due meanwhile is sent within seconds.", is_active=True
)


class PauseActions(ListMixin):
    """For the lists of App, Repository and Subscription."""

    actions: tuple[str, ...] = ("pause_selected", "resume_selected")
    dialog_actions = actions

    @admin.action(description="Pause", permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._confirmed(request, queryset, PAUSE)

    @admin.action(description="Resume", permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return self._confirmed(request, queryset, RESUME)

    def _confirmed(self, request: HttpRequest, rows: QuerySet[Any], change: Change) -> HttpResponse:
        """Asks; and when the answer comes back changes what was shown, or less."""
        if digest := request.POST.get("digest"):
            try:
                return self._change(request, rows, change, _shown(digest, self._about(change)))
            except Refused as refusal:
                messages.error(request, f"Failed to {change.label.lower()}: {refusal}")
        total = pausing.to_change(rows, is_active=change.is_active).count()
        if not total:
            state = "paused" if not change.is_active else "active"
            messages.info(request, f"All that were chosen are {state} already.")
            return self._back(request)
        what = counted(total, str(self.opts.verbose_name))
        return ask(
            request,
            Confirmation(title=f"{change.label} {what}?", effect=change.effect, label=change.label),
            back=request.get_full_path(),
            back_title=str(self.opts.verbose_name_plural).capitalize(),
            failed=f"Failed to {change.label.lower()}",
            hidden=[
                ("digest", signing.dumps([self._about(change), total], salt=SALT)),
                *chosen_again(request, rows, change.action),
            ],
        )

    def _about(self, change: Change) -> str:
        return f"{change.action} {self.opts.model_name}"

    def _change(self, request: HttpRequest, rows: QuerySet[Any], change: Change, shown: int) -> HttpResponse:
        act = pausing.resume if change.is_active else pausing.pause
        found = act(rows, asker_of(request), at_most=shown)
        text = f"{change.done} {counted(len(found), str(self.opts.verbose_name))}"
        if gone := shown - len(found):
            text += f"; {gone:,} of those that were shown no longer qualify"
        messages.success(request, text)
        return self._back(request)

    def _back(self, request: HttpRequest) -> HttpResponse:
        """The badges of subscriptions change in place; of other rows the list is loaded anew."""
        if is_htmx(request) and self.model is Subscription:
            return answers.done(request)
        return HttpResponseRedirect(request.get_full_path())


def tell(request: HttpRequest, row: Model, *, changed: bool, is_active: bool) -> None:
    """Shows the message after *Pause* or *Resume*; `changed` is False where somebody else was quicker."""
    if changed:
        messages.success(request, f"{'Resumed' if is_active else 'Paused'} {row}")
    elif type(row)._default_manager.filter(pk=row.pk).exists():
        messages.info(request, f"{row} is {'active' if is_active else 'paused'} already")
    else:
        messages.error(request, f"{row} was deleted meanwhile; nothing was changed.")


def _shown(digest: str, about: str) -> int:
    try:
        named, total = signing.loads(digest, salt=SALT, max_age=DIGEST_SECONDS)
    except signing.BadSignature:
        raise Refused("invalid", "The confirmation is over an hour old, or none of ours.") from None
    if named != about:
        raise Refused("invalid", "The confirmation is of something else.")
    return int(total)
