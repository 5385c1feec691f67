"""The buttons Pause and Resume of an app or a repository as a whole."""

from django.http import HttpRequest

from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button, ButtonsMixin, Confirmation
from syncsvc.admin.pausing import tell
from syncsvc.models import App, Repository
from syncsvc.operations import pausing
from syncsvc.words import counted

PAUSE = Button(
    "pause",
    "Pause",
    "Nothing is sent until it is resumed; nothing is lost",
    confirms="ask_pause",
    in_place=True,
    failed="Failed to pause",
)
RESUME = Button(
    "resume",
    "Resume",
    "What became due meanwhile is sent",
    confirms="ask_resume",
    in_place=True,
    tone="main",
    failed="Failed to resume",
)


class PauseButtons(ButtonsMixin):
    """For the pages of App and Repository."""

    def ask_pause(self, request: HttpRequest, row: App | Repository) -> Confirmation:
        of_app = isinstance(row, App)
        number = counted(row.subscriptions.filter(is_active=True).count(), "repository" if of_app else "app")
        stops = f"{row} is sent nothing more" if of_app else f"{row} is not polled, and nothing of it is sent,"
        effect = f"{stops} until it is resumed: {number}. Nothing is lost; a run that goes on stops in seconds."
        return Confirmation(title=f"Pause {row}?", effect=effect, label="Pause", tone="danger")

    def ask_resume(self, request: HttpRequest, row: App | Repository) -> Confirmation:
        number = counted(row.subscriptions.filter(is_active=True).count(), "subscription")
        why = f"It was paused: {row.pause_reason} " if isinstance(row, App) and row.pause_reason else ""
        effect = f"{why}What became due meanwhile is sent within seconds: {number} may run."
        return Confirmation(title=f"Resume {row}?", effect=effect, label="Resume")

    def pause(self, request: HttpRequest, row: App | Repository) -> None:
        changed = pausing.pause(self.model._default_manager.filter(pk=row.pk), asker_of(request))
        tell(request, row, changed=bool(changed), is_active=False)

    def resume(self, request: HttpRequest, row: App | Repository) -> None:
        changed = pausing.resume(self.model._default_manager.filter(pk=row.pk), asker_of(request))
        tell(request, row, changed=bool(changed), is_active=True)
