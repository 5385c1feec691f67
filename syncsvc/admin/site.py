"""The console: Django's admin under our name, its pages in the order in which they are needed."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest

GROUPS = {
    "Syncing": ("Subscription", "App", "Repository"),
    "Operations": ("Operation", "OperationItem"),
    "History": ("SyncRun", "DeliveryAttempt", "DeliveredFile", "Snapshot"),
    "Scripts": ("ApiToken",),
}


class ConsoleSite(AdminSite):
    site_header = "syncsvc"
    site_title = "syncsvc"
    index_title = "Console"
    site_url = None
    empty_value_display = "-"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = {app["app_label"]: app for app in super().get_app_list(request, app_label)}
        ours = apps.pop("syncsvc", None)
        if "auth" in apps:
            apps["auth"]["name"] = "People"
        return [*(_groups(ours) if ours else ()), *apps.values()]


def _groups(app: Any) -> list[Any]:
    models = {model["object_name"]: model for model in app["models"]}
    named = {title: [models[name] for name in names if name in models] for title, names in GROUPS.items()}
    return [{**app, "name": title, "models": group} for title, group in named.items() if group]
