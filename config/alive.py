"""For a container's health: `python -m config.alive worker` fails where the worker of this host was not seen lately.

`scheduler` looks for one of any host. Where Redis, which knows, is away or takes no writes, all count as well.
"""

import os
import socket
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


def seen_lately(what: str) -> bool:
    from syncsvc.sync.health import alive  # reads the settings

    known = alive()
    if known is None or known.refusal:
        return True
    if what == "scheduler":
        return known.scheduler is not None
    return any(worker.name.endswith(f"@{socket.gethostname()}") for worker in known.workers)


if __name__ == "__main__":
    if not seen_lately(sys.argv[1]):
        sys.exit(f"{sys.argv[1]} was not seen lately")
