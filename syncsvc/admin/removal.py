"""Deleting what owns millions of rows: counted at a glance, deleted by one statement a table.

Django's own way reads every row that goes, into memory and onto the page.
"""

import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin import answers
from syncsvc.admin.bases import ModelAdmin
from syncsvc.admin.buttons import Confirmation, ask
from syncsvc.admin.paging import capped_count, capped_text
from syncsvc.admin.parts import is_htmx
from syncsvc.models import App, DeliveredFile, DeliveryAttempt, Repository, Snapshot, Subscription, SyncRun

NAMED = 20  # subscriptions that the confirmation lists by name
OWNED: tuple[type[models.Model], ...] = (DeliveredFile, DeliveryAttempt, SyncRun)


def subscriptions_of(rows: QuerySet[Any]) -> QuerySet[Subscription]:
    """The subscriptions that go with apps, with repositories, or are these."""
    ids = rows.order_by().values("pk")
    if rows.model is App:
        return Subscription.objects.filter(app__in=ids)
    if rows.model is Repository:
        return Subscription.objects.filter(repository__in=ids)
    return Subscription.objects.filter(pk__in=ids)


@transaction.atomic
def remove(rows: QuerySet[Any]) -> None:
    """Deletes apps, repositories or subscriptions, and all that hangs on them."""
    ids = [row.pk for row in rows]
    rows = rows.model._default_manager.filter(pk__in=ids)
    remove_subscriptions(subscriptions_of(rows))
    if rows.model is Repository:
        _delete(Snapshot.objects.filter(repository__in=ids))
    _delete(rows)


def remove_subscriptions(subscriptions: QuerySet[Subscription]) -> None:
    """Locked first: a worker that writes to a ledger checks its subscription, so no row stays behind."""
    locked = subscriptions.order_by("id").select_for_update(of=("self",))
    ids: list[uuid.UUID] = list(locked.values_list("id", flat=True))
    for model in OWNED:
        _delete(model._default_manager.filter(subscription__in=ids))
    _delete(Subscription.objects.filter(id__in=ids))


def _delete(rows: QuerySet[Any]) -> None:
    rows.order_by()._raw_delete(rows.db)


class RemovalMixin(ModelAdmin):
    """For the pages of App, Repository and Subscription."""

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        rows = self.model._default_manager.filter(pk__in=[row.pk for row in objs])
        subscriptions = subscriptions_of(rows)
        names = subscriptions.select_related("app", "repository").order_by("app__name", "repository__name")
        counts, count = _counts(rows, subscriptions), subscriptions.count()
        lines = [] if self.model is Subscription else [_line(row) for row in rows[:NAMED]]
        lines += [_line(row) for row in names[:NAMED]]
        if count > NAMED:
            lines.append(format_html("and {} more subscriptions", f"{count - NAMED:,}"))
        may = self.admin_site.get_model_admin(Subscription).has_delete_permission(request)
        return lines, counts, set() if may or not count else {"subscription"}, []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Within htmx the question fills the dialog; Django's page asks it otherwise, and does it either way."""
        row = self.get_object(request, object_id) if is_htmx(request) and request.method == "GET" else None
        if row is None:
            return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        _, counts, lacking, _ = self.get_deleted_objects([row], request)
        if lacking:
            messages.error(request, f"Failed to delete: you may not delete its {', '.join(lacking)}s.")
            return answers.done(request)
        with_it = [(count, name.removesuffix("s") if count == "1" else name) for name, count in counts.items()][1:]
        goes = ", ".join(f"{count} {name}" for count, name in with_it if count != "0")
        effect = f"{f'With it go: {goes}. ' if goes else ''}This cannot be undone."
        asked = Confirmation(title=f"Delete {row}?", effect=effect, label="Delete", tone="danger")
        hidden = [("post", "yes")]
        return ask(request, asked, back=request.path, back_title=str(row), failed="Failed to delete", hidden=hidden)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove(self.model._default_manager.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        remove(queryset)


def _counts(rows: QuerySet[Any], subscriptions: QuerySet[Subscription]) -> dict[str, str]:
    ids = subscriptions.values("id")
    parts: list[QuerySet[Any]] = [rows]
    if rows.model is not Subscription:
        parts.append(subscriptions)
    if rows.model is Repository:
        parts.append(Snapshot.objects.filter(repository__in=rows.values("id")))
    parts += [model._default_manager.filter(subscription__in=ids) for model in OWNED]
    return {str(part.model._meta.verbose_name_plural): capped_text(capped_count(part)) for part in parts}


def _line(row: models.Model) -> SafeString:
    return format_html("{}: {}", str(row._meta.verbose_name).capitalize(), row)
