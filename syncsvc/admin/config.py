"""The console is Django's admin with a site of its own; its label stays `admin`."""

from importlib import import_module

from django.contrib.admin.apps import AdminConfig

PAGES = (
    "app",
    "repository",
    "subscription",
    "run",
    "attempt",
    "ledger",
    "snapshot",
    "operation",
    "operation_item",
    "token",
)


class ConsoleConfig(AdminConfig):
    default_site = "syncsvc.admin.site.ConsoleSite"

    def ready(self) -> None:
        super().ready()
        # Autodiscovery finds the package `syncsvc.admin`, whose __init__ is imported before there are models.
        for page in PAGES:
            import_module(f"syncsvc.admin.{page}")
