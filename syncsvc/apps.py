import atexit

from django.apps import AppConfig
from django.db import connections


class SyncsvcConfig(AppConfig):
    name = "syncsvc"
    verbose_name = "syncsvc"

    def ready(self) -> None:
        import config.celery  # noqa: F401 - the Celery app that wake-ups are sent through
        from syncsvc import checks, production  # noqa: F401 - register the system checks

        atexit.register(_close_pools)


def _close_pools() -> None:
    """While their threads still run: the interpreter would freeze those first, and then wait for them in vain."""
    for connection in connections.all(initialized_only=True):
        connection.close_pool()  # type: ignore[attr-defined]
