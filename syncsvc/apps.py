import atexit
import gc
import resource

from django.apps import AppConfig
from django.db import connections


class SyncsvcConfig(AppConfig):
    name = "syncsvc"
    verbose_name = "syncsvc"

    def ready(self) -> None:
        from syncsvc import checks, production  # noqa: F401 - register the system checks

        # A core dump would hold keys and secrets that are decrypted for a moment; git and other children inherit it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        atexit.register(_close_pools)
        # What is loaded by now stays: looking through it for garbage would cost a command a quarter of its time, most
        # of that at its end.
        gc.freeze()
        gc.enable()
        atexit.register(gc.freeze)


def _close_pools() -> None:
    """While their threads still run: the interpreter would freeze those first, and then wait for them in vain."""
    for connection in connections.all(initialized_only=True):
        connection.close_pool()  # type: ignore[attr-defined]
