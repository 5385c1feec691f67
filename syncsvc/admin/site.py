"""The console: Django's admin under our name, its pages in the order in which they are needed."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest

GROUPS = {
    "Syncing": ("Subscription", "App", "Repository"),
    "History": ("SyncRun", "DeliveryAttempt", "DeliveredFile", "Snapshot"),
}


class ConsoleSite(AdminSite):
    site_header = "syncsvc"
    site_title = "syncsvc"
    index_title = "Console"
    site_url = None
    empty_value_display = "-"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        return [part for app in apps for part in _parts(app)]


def _parts(app: Any) -> list[Any]:
    """An app's models in our groups; what is in none stays as it is."""
    models = {model["object_name"]: model for model in app["models"]}
    if app["app_label"] != "syncsvc":
        return [app]
    named = {title: [models[name] for name in names if name in models] for title, names in GROUPS.items()}
    return [{**app, "name": title, "models": group} for title, group in named.items() if group]
