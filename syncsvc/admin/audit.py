"""The audit: who did what, who logged in or failed to, which tokens were used."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.admin.cells import NOTHING, badge, moment
from syncsvc.admin.filters import when
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.tones import OF_AUDIT
from syncsvc.models import AuditEntry

FIELDS = ("exactly", "who", "source", "address", "done", "what", "text", "times", "last")


@admin.register(AuditEntry)
class AuditEntryAdmin(HistoryAdmin):
    list_display = ("done", "who", "what", "said", "source", "address", "happened")
    list_filter = ("action", when("at"), "source")
    sortable_by = ()
    search_fields = ("actor",)
    search_help_text = "The name of a user or of what was changed, in full; an id; or an address."
    fields = readonly_fields = FIELDS

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        term = search_term.strip()
        return queryset.about(term) if term else queryset, False

    @admin.display(description="action")
    def done(self, entry: AuditEntry) -> str:
        return badge(str(entry.get_action_display()).capitalize(), OF_AUDIT[entry.action])

    @admin.display(description="who")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor or NOTHING

    @admin.display(description="what")
    def what(self, entry: AuditEntry) -> str:
        if not entry.object_type or entry.object_name == entry.actor:
            return NOTHING
        return format_html('{} <span class="kind">{}</span>', entry.object_name, entry.object_type)

    @admin.display(description="details")
    def said(self, entry: AuditEntry) -> str:
        if entry.times == 1:
            return entry.text or NOTHING
        return format_html("{} {} times, last {}", entry.text, f"{entry.times:,}", moment(entry.last_at))

    @admin.display(description="when")
    def happened(self, entry: AuditEntry) -> str:
        return moment(entry.at)

    @admin.display(description="when")
    def exactly(self, entry: AuditEntry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description="last time")
    def last(self, entry: AuditEntry) -> str:
        return f"{entry.last_at:%Y-%m-%d %H:%M:%S} UTC"
