"""What all lists have in common: pages of 50 rows that are counted once, each with a cheap box to tick."""

from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.admin.audited import AuditedMixin
from syncsvc.admin.bounded import BoundedMixin
from syncsvc.admin.paging import IdsFirstPaginator

# Bytes, as of paths; documents, lists, and IP addresses.
NO_TEXT = (models.BinaryField, models.GenericIPAddressField, models.JSONField, ArrayField)


class ListMixin(BoundedMixin, AuditedMixin):
    list_per_page = 50
    paginator = IdsFirstPaginator
    show_full_result_count = False
    # Those of the actions that ask first: they do so in the dialog.
    dialog_actions: tuple[str, ...] = ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuses filters by columns that not every text can be compared with."""
        name = lookup.partition("__")[0]
        fields = [field for field in self.opts.fields if field.name == name]
        if any(isinstance(field, NO_TEXT) for field in fields):
            return False
        return super().lookup_allowed(lookup, value, request)

    def action_checkbox(self, obj: models.Model) -> SafeString:
        """Django renders a template for each: a third of a list's time."""
        name, label = ACTION_CHECKBOX_NAME, f"Select {obj}"
        box = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
        return format_html(box, name, obj.pk, label)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"dialog_actions": self.dialog_actions, **(extra_context or {})})


def chosen_again(request: HttpRequest, rows: models.QuerySet[Any], action: str) -> list[tuple[str, str]]:
    """The hidden fields that choose the same rows for the same action: the ticked ones, or all without naming one."""
    across = request.POST.get("select_across") == "1"
    ticked = ["all"] if across else [str(pk) for pk in rows.order_by().values_list("pk", flat=True)]  # one is asked for
    hidden = [("action", action), ("select_across", "1" if across else "0")]
    return hidden + [(ACTION_CHECKBOX_NAME, value) for value in ticked]
