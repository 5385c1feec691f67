"""Repositories: what is watched, where it stands, what the last polls found, and how far each app is."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html

from syncsvc.admin import repository_page
from syncsvc.admin.actions import BULK_BUTTONS, BulkButtons
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button
from syncsvc.admin.cells import NOTHING, badge, commit_cell, kind_cell, list_link, moment
from syncsvc.admin.counting import NONE, standing_of, subscriptions_of
from syncsvc.admin.pause_buttons import PAUSE, RESUME, PauseButtons
from syncsvc.admin.removal import RemovalMixin
from syncsvc.admin.repository_form import RepositoryForm
from syncsvc.admin.repository_page import verdict
from syncsvc.admin.resync_for import RESYNC_FOR, ResyncForButton
from syncsvc.exceptions import Refused
from syncsvc.models import RemoteHost, Repository, Subscription
from syncsvc.operations.repositories import check_now, save_repository
from syncsvc.statistics.stale import is_stale

CHECK = Button(
    "check_now",
    "Check now",
    "A worker asks the remote now where its branch stands",
    in_place=True,
    failed="Failed to ask for a check",
)
# Nothing is asked of its host now.
LEFT_ALONE = Exists(
    RemoteHost.objects.filter(Q(circuit_until__gt=Now()) | Q(quiet_until__gt=Now()), name=OuterRef("host"))
)


@admin.register(Repository)
class RepositoryAdmin(BulkButtons, ResyncForButton, PauseButtons, RemovalMixin):
    form = RepositoryForm
    change_form_template = "admin/syncsvc/repository.html"
    panels = repository_page.PANELS
    buttons = (CHECK, *BULK_BUTTONS, RESYNC_FOR, PAUSE, RESUME)
    list_display = ("name", "url", "branch", "state", "head", "checked", "subscription_count")
    list_filter = ("is_active", "error_kind")
    search_fields = ("name", "url")
    search_help_text = "Part of a name or URL."

    def get_fieldsets(self, request: HttpRequest, obj: Repository | None = None) -> Any:
        remote = ("name", "url", "branch", "poll_seconds", "is_active")
        http = ("username", "new_token", "remove_token") if obj else ("username", "new_token")
        http = (*http, "ca_certificate")
        ssh = ("new_ssh_key", "remove_ssh_key", "known_hosts") if obj else ("new_ssh_key", "known_hosts")
        parts: list[Any] = [
            (None, {"fields": remote}),
            ("Token and CA, for http and https", {"fields": http}),
            ("Key, for ssh", {"fields": ssh}),
        ]
        return parts

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        counts = {"subscription_count": subscriptions_of("repository"), "standing": standing_of("repository")}
        rows: QuerySet[Any] = super().get_queryset(request).annotate(**counts, host_is_left_alone=LEFT_ALONE)
        return rows

    def buttons_of(self, row: Repository) -> Sequence[Button]:
        return (CHECK, *BULK_BUTTONS, RESYNC_FOR, PAUSE) if row.is_active else (*BULK_BUTTONS, RESYNC_FOR, RESUME)

    def beside(self, request: HttpRequest, row: Repository) -> dict[str, Any]:
        return {"credential": _credential(row)}

    def pressed(self, request: HttpRequest, row: Repository, button: Button) -> HttpResponse:
        repository_page.NUMBERS.forget(row)
        return super().pressed(request, row, button)

    @admin.display(description="state")
    def state(self, repository: Any) -> str:
        """The verdict of the repository's own page."""
        left_alone, stale = bool(repository.host_is_left_alone), is_stale(repository, timezone.now())
        counts = repository.standing or NONE
        found = verdict(repository, counts, host_is_left_alone=left_alone, stale=stale)
        shown = badge(found["word"], found["tone"])
        return format_html("{} {}", shown, kind_cell(repository.error_kind)) if repository.error_kind else shown

    @admin.display(description="head")
    def head(self, repository: Repository) -> str:
        if not repository.head_commit:
            return NOTHING
        return format_html("{} {}", repository.head_branch or "HEAD", commit_cell(repository.head_commit))

    @admin.display(description="last check", ordering="checked_at")
    def checked(self, repository: Repository) -> str:
        return moment(repository.checked_at)

    @admin.display(description="subscriptions", ordering="subscription_count")
    def subscription_count(self, repository: Any) -> str:
        return list_link(Subscription, str(repository.subscription_count), {"repository__exact": repository.pk})

    def save_model(self, request: HttpRequest, obj: Repository, form: Any, change: bool) -> None:
        changed = form.apply(obj)
        if change:
            save_repository(obj, asker_of(request), changed=changed)
        else:
            obj.save()

    def check_now(self, request: HttpRequest, repository: Repository) -> None:
        try:
            check_now(repository.pk)
        except Refused as refusal:
            if refusal.kind == "conflict":
                messages.info(request, str(refusal))
            else:
                messages.error(request, f"{CHECK.failed}: {refusal}")
            return
        messages.success(request, f"Check asked for: {repository}")


def _credential(repository: Repository) -> str:
    if repository.ssh_key is not None:
        return "an SSH key"
    return "none" if repository.token is None else "a token"
