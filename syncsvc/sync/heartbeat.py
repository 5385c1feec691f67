"""A worker process says every few seconds that it lives."""

import threading

from syncsvc.sync.health import worker_seen

HEARTBEAT_SECONDS = 10


def start_heartbeat(name: str) -> threading.Thread:
    """`name` is the worker's own among all machines; the thread ends with the process."""
    thread = threading.Thread(target=_beat, args=(name,), name="heartbeat", daemon=True)
    thread.start()
    return thread


def _beat(name: str) -> None:
    pause = threading.Event()
    while True:
        worker_seen(name)
        pause.wait(HEARTBEAT_SECONDS)
