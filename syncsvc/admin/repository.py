"""Repositories: what is watched, a check that git reaches it, and what the last polls found."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.admin.actions import BULK_BUTTONS, BulkButtons
from syncsvc.admin.buttons import Button
from syncsvc.admin.cells import NOTHING, badge, block, commit_cell, list_link, moment
from syncsvc.admin.removal import RemovalMixin
from syncsvc.admin.repository_form import RepositoryForm
from syncsvc.exceptions import GitError, InvalidUrlError
from syncsvc.git.remote import GitLimits, remote_head
from syncsvc.models import Repository, Snapshot, Subscription

STATE = ("state", "head", "checked", "next_poll", "error", "credential", "subscription_links", "snapshot_links")


@admin.register(Repository)
class RepositoryAdmin(BulkButtons, RemovalMixin):
    form = RepositoryForm
    buttons = (Button("check_remote", "Check", "Ask the remote now where its branch stands"), *BULK_BUTTONS)
    list_display = ("name", "url", "branch", "state", "head", "checked", "subscription_count")
    list_filter = ("is_active", "error_kind")
    search_fields = ("name", "url")
    search_help_text = "Part of a name or URL."
    readonly_fields = STATE

    def get_fieldsets(self, request: HttpRequest, obj: Repository | None = None) -> Any:
        remote = ("name", "url", "branch", "poll_seconds", "is_active")
        http = ("username", "new_token", "remove_token") if obj else ("username", "new_token")
        ssh = ("new_ssh_key", "remove_ssh_key", "known_hosts") if obj else ("new_ssh_key", "known_hosts")
        parts: list[Any] = [
            (None, {"fields": remote}),
            ("Token, for http and https", {"fields": http}),
            ("Key, for ssh", {"fields": ssh}),
        ]
        return [*parts, ("State", {"fields": STATE})] if obj else parts

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        counted = super().get_queryset(request).annotate(subscription_count=Count("subscriptions"))
        rows: QuerySet[Any] = counted.order_by("name")  # a model's own order does not hold for grouped rows
        return rows

    @admin.display(description="state")
    def state(self, repository: Repository) -> str:
        if not repository.is_active:
            return badge("paused", "quiet")
        if repository.error_kind:
            return badge(repository.error_kind, "bad")
        return badge("reached", "good") if repository.checked_at else badge("not checked yet", "quiet")

    @admin.display(description="head")
    def head(self, repository: Repository) -> str:
        if not repository.head_commit:
            return NOTHING
        return format_html("{} {}", repository.head_branch, commit_cell(repository.head_commit))

    @admin.display(description="last check", ordering="checked_at")
    def checked(self, repository: Repository) -> str:
        return moment(repository.checked_at)

    @admin.display(description="next poll")
    def next_poll(self, repository: Repository) -> str:
        return moment(repository.due_at) if repository.is_active else NOTHING

    @admin.display(description="last error")
    def error(self, repository: Repository) -> str:
        if not repository.last_error:
            return NOTHING
        text = "{}: {} failures in a row, since {}{}"
        streak, since = repository.failure_streak, moment(repository.failing_since)
        return format_html(text, repository.error_kind, streak, since, block(repository.last_error))

    @admin.display(description="stored credential")
    def credential(self, repository: Repository) -> str:
        if repository.ssh_key is not None:
            return "an SSH key"
        return "none" if repository.token is None else "a token"

    @admin.display(description="subscriptions", ordering="subscription_count")
    def subscription_count(self, repository: Any) -> str:
        return list_link(Subscription, str(repository.subscription_count), {"repository__exact": repository.pk})

    @admin.display(description="subscriptions")
    def subscription_links(self, repository: Any) -> str:
        return self.subscription_count(repository)

    @admin.display(description="snapshots")
    def snapshot_links(self, repository: Repository) -> str:
        return list_link(Snapshot, "All snapshots", {"repository__exact": repository.pk})

    def save_model(self, request: HttpRequest, obj: Repository, form: Any, change: bool) -> None:
        moved = form.apply(obj)
        # Of a row that exists only what the form has: its poll may be running.
        obj.save(update_fields=[*RepositoryForm.Meta.fields, "token", "ssh_key"] if change else None)
        if change and moved:
            poll_afresh(obj)

    def check_remote(self, request: HttpRequest, repository: Repository) -> None:
        limits = GitLimits(
            timeout=settings.GIT_TIMEOUT,
            ls_remote_timeout=settings.GIT_LS_REMOTE_TIMEOUT,
            allow_local=settings.GIT_ALLOW_LOCAL,
        )
        try:
            head = remote_head(repository.remote, limits)
        except GitError as error:
            messages.error(request, f"{error} ({error.kind})")
            return
        except InvalidUrlError as error:
            messages.error(request, str(error))
            return
        stands = f"{head.branch} is at {head.commit}." if head.commit else "The repository has no commit yet."
        messages.success(request, f"git reached it. {stands}")


def poll_afresh(repository: Repository) -> None:
    """The next poll is due now, and what failed before, or is being asked now, is about another remote."""
    Repository.objects.filter(pk=repository.pk).update(
        due_at=Now(),
        queued_at=None,
        lease_token=None,
        lease_expires_at=None,
        failure_streak=0,
        circuit_until=None,
        error_kind="",
        last_error="",
        failing_since=None,
    )
