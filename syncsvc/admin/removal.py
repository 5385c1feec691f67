"""Deleting rows that own millions of others: the question counts up to a limit, and names a few."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin import answers
from syncsvc.admin.asking import asker_of
from syncsvc.admin.audited import AuditedMixin
from syncsvc.admin.buttons import Confirmation, ask
from syncsvc.admin.paging import capped_count, capped_text
from syncsvc.admin.parts import is_htmx
from syncsvc.models import Subscription
from syncsvc.operations.removal import remove, subscriptions_of, what_goes
from syncsvc.words import plural

NAMED = 20  # subscriptions that the confirmation lists by name


class RemovalMixin(AuditedMixin):
    """For the pages of App, Repository and Subscription."""

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        rows = self.model._default_manager.filter(pk__in=[row.pk for row in objs])
        subscriptions = subscriptions_of(rows)
        names = subscriptions.select_related("app", "repository").order_by("app__name", "repository__name")
        count = subscriptions.count()
        counts = {str(model._meta.verbose_name_plural): capped_text(number) for model, number in _goes(rows)}
        lines = [] if self.model is Subscription else [_line(row) for row in rows[:NAMED]]
        lines += [_line(row) for row in names[:NAMED]]
        if count > NAMED:
            lines.append(format_html("and {} more subscriptions", f"{count - NAMED:,}"))
        return lines, counts, self._lacking(request, count), []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Within htmx the question fills the dialog; Django's page asks it otherwise, and does it either way."""
        row = self.get_object(request, object_id) if is_htmx(request) and request.method == "GET" else None
        if row is None:
            return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        rows = self.model._default_manager.filter(pk=row.pk)
        for noun in self._lacking(request, subscriptions_of(rows).count()):
            messages.error(request, f"Failed to delete: you may not delete its {plural(2, noun)}.")
            return answers.done(request)
        goes = ", ".join(
            f"{capped_text(number)} {plural(number, str(model._meta.verbose_name))}"
            for model, number in _goes(rows)[1:]
            if number
        )
        effect = f"{f'With it go: {goes}. ' if goes else ''}This cannot be undone."
        asked = Confirmation(title=f"Delete {row}?", effect=effect, label="Delete", tone="danger")
        hidden = [("post", "yes")]
        return ask(request, asked, back=request.path, back_title=str(row), failed="Failed to delete", hidden=hidden)

    def _lacking(self, request: HttpRequest, subscriptions: int) -> set[str]:
        """Names of the models whose rows the delete would take although the user may not delete them."""
        may = self.admin_site.get_model_admin(Subscription).has_delete_permission(request)
        return set() if may or not subscriptions else {str(Subscription._meta.verbose_name)}

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Does nothing: the delete itself writes the log, for commands as well."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove(self.model._default_manager.filter(pk=obj.pk), asker_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        remove(queryset, asker_of(request))


def _goes(rows: QuerySet[Any]) -> list[tuple[type[models.Model], int]]:
    """The number of rows that a delete takes from each table, the table of the given rows first."""
    return [(part.model, capped_count(part)) for part in what_goes(rows)]


def _line(row: models.Model) -> SafeString:
    return format_html("{}: {}", str(row._meta.verbose_name).capitalize(), row)
