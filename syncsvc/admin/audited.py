"""What is added, changed and deleted in the console is in the audit; the page *Log* of a row shows it."""

import json
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncsvc.admin.asking import asker_of
from syncsvc.admin.bases import ModelAdmin
from syncsvc.models import AuditEntry

ROWS = 100


class AuditedMixin(ModelAdmin):
    """In place of Django's own log, which goes with its user."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        asker_of(request).log(obj, _words(message), action=AuditEntry.Action.ADDED)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        asker_of(request).log(obj, _words(message))

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        asker_of(request).log_all(list(queryset), "Deleted.", action=AuditEntry.Action.DELETED)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        about = AuditEntry.objects.filter(object_id=str(row.pk), object_type=str(self.opts.verbose_name))
        paginator = self.get_paginator(request, about.order_by("id"), ROWS)
        page = paginator.get_page(request.GET.get(PAGE_VAR, 1))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Log of {row}",
            "page_var": PAGE_VAR,
            "entries": page,
            "numbers": paginator.get_elided_page_range(page.number) if paginator.num_pages > 1 else (),
            "object": row,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/object_history.html", context)


def _words(message: Any) -> str:
    """Django describes a change as a list of what was done to which fields, never with their values."""
    return LogEntry(change_message=message if isinstance(message, str) else json.dumps(message)).get_change_message()
