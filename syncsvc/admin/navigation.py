"""The console's navigation: what the user may see, and where the page at hand belongs."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

# (label, name of the address, permission)
PAGES = (
    ("Overview", "index", ""),
    ("Failures", "failures", "syncsvc.view_subscription"),
    ("Operations", "syncsvc_operation_changelist", "syncsvc.view_operation"),
    ("Queue", "queue", "syncsvc.view_subscription"),
    ("Apps", "syncsvc_app_changelist", "syncsvc.view_app"),
    ("Repositories", "syncsvc_repository_changelist", "syncsvc.view_repository"),
    ("Subscriptions", "syncsvc_subscription_changelist", "syncsvc.view_subscription"),
)
HISTORY = (
    ("Runs", "syncsvc_syncrun_changelist", "syncsvc.view_syncrun"),
    ("Attempts", "syncsvc_deliveryattempt_changelist", "syncsvc.view_deliveryattempt"),
    ("Files delivered", "syncsvc_deliveredfile_changelist", "syncsvc.view_deliveredfile"),
    ("Snapshots", "syncsvc_snapshot_changelist", "syncsvc.view_snapshot"),
    ("Operation items", "syncsvc_operationitem_changelist", "syncsvc.view_operationitem"),
)
OTHERS = (
    ("API tokens", "syncsvc_apitoken_changelist", "syncsvc.view_apitoken"),
    ("Users", "auth_user_changelist", "auth.view_user"),
    ("Groups", "auth_group_changelist", "auth.view_group"),
    ("Audit", "syncsvc_auditentry_changelist", "syncsvc.view_auditentry"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    label: str
    url: str
    current: bool


def navigation(request: HttpRequest) -> dict[str, Any]:
    """`pages`, `history` and `others` (a user's menu), each of entries; `in_history` where one of those is current.

    `title` is the current one's label: a list is called the same everywhere.
    """
    pages, history, others = (_entries(request, listed) for listed in (PAGES, HISTORY, OTHERS))
    return {
        "pages": pages,
        "history": history,
        "in_history": any(entry.current for entry in history),
        "others": others,
        "title": next((entry.label for entry in [*pages, *history, *others] if entry.current), ""),
    }


def _entries(request: HttpRequest, listed: tuple[tuple[str, str, str], ...]) -> list[Entry]:
    found = []
    for label, name, permission in listed:
        if permission and not request.user.has_perm(permission):
            continue
        try:
            url = reverse(f"admin:{name}")
        except NoReverseMatch:
            continue
        here = request.path == url if name == "index" else request.path.startswith(url)
        found.append(Entry(label, url, here))
    return found
