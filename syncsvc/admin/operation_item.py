"""What came of each subscription in an operation."""

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin.cells import NOTHING, badge, block, kind_cell, link, moment
from syncsvc.admin.filters import AutocompleteFilter
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.tones import OF_ITEM
from syncsvc.models import OperationItem

REASON_SHOWN = 100  # characters


def item_badge(item: OperationItem) -> SafeString:
    return badge(item.get_status_display().capitalize(), OF_ITEM[item.status])


def subscription_cell(item: OperationItem) -> SafeString:
    """A link while the subscription is there; its name stays."""
    if item.subscription_id is None:
        return format_html("{}", str(item))
    url = reverse("admin:syncsvc_subscription_change", args=[item.subscription_id])
    return format_html('<a href="{}">{}</a>', url, str(item))


@admin.register(OperationItem)
class OperationItemAdmin(HistoryAdmin):
    list_display = ("__str__", "outcome", "short_reason", "files", "settled", "operation_link")
    list_filter = (("operation", AutocompleteFilter), "status", "error_kind")
    list_select_related = ("operation",)
    search_fields = ("app_name", "repository_name")
    search_help_text = "Part of an app's or a repository's name."
    sortable_by = ()
    fields = readonly_fields = (
        "subscription_link",
        "operation_link",
        "state",
        "error_kind",
        "whole_reason",
        "files",
        "run_link",
        "settled",
    )

    @admin.display(description="subscription")
    def subscription_link(self, item: OperationItem) -> str:
        return subscription_cell(item)

    @admin.display(description="operation")
    def operation_link(self, item: OperationItem) -> str:
        return link(item.operation, f"operation {str(item.operation_id)[:8]}")

    @admin.display(description="status")
    def outcome(self, item: OperationItem) -> str:
        return format_html("{} {}", item_badge(item), kind_cell(item.error_kind))

    @admin.display(description="status")
    def state(self, item: OperationItem) -> str:
        return item_badge(item)

    @admin.display(description="reason")
    def short_reason(self, item: OperationItem) -> str:
        reason = item.reason
        return reason if len(reason) <= REASON_SHOWN else f"{reason[: REASON_SHOWN - 1]}…"

    @admin.display(description="reason")
    def whole_reason(self, item: OperationItem) -> str:
        return block(item.reason)

    @admin.display(description="run")
    def run_link(self, item: OperationItem) -> str:
        if item.run_id is None:
            return NOTHING
        url = reverse("admin:syncsvc_syncrun_change", args=[item.run_id])
        return format_html('<a href="{}">run {}</a>', url, str(item.run_id)[:8])

    @admin.display(description="settled")
    def settled(self, item: OperationItem) -> str:
        return moment(item.settled_at)
