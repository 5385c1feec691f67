"""The console is Django's admin with a site of its own; its label stays `admin`."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.contrib.admin import autodiscover
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core.checks import CheckMessage, Tags, register

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
    "audit",
    "people",
)


class ConsoleConfig(SimpleAdminConfig):
    """Loads no page: workers and commands show none. config.urls loads them, and so does the check."""

    default_site = "syncsvc.admin.site.ConsoleSite"

    def ready(self) -> None:
        register(check_dependencies, Tags.admin)
        register(check_pages, Tags.admin)


@cache
def load_pages() -> None:
    """Registers every page of the console."""
    autodiscover()
    # It finds the package `syncsvc.admin`, whose __init__ is imported before there are models.
    for page in PAGES:
        import_module(f"syncsvc.admin.{page}")


def check_pages(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    load_pages()
    return check_admin_app(app_configs, **options)
