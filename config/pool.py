"""A threads pool for workers that take a message only when a slot is free for it.

Otherwise a busy worker holds as many again in reserve while another one is idle. Celery can do without the reserve
(`--disable-prefetch`), but looks for a free thread only once a second; here a slot that gets free rings a bell.

There are twice as many threads as slots. A message whose work turned out to be long is set apart: it keeps its thread,
and its slot is free for the next message.
"""

import contextlib
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.concurrency.thread import TaskPool

# Seconds that a thread may keep the interpreter from others: a live run needs it for a moment after each answer of git
# or PostgreSQL, and would wait ten times as long each time beside bulk runs.
SWITCH_SECONDS = 0.0005


class ThreadsWithoutReserve(TaskPool):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._slots = int(self.limit)
        self._apart = 0
        self.executor = ThreadPoolExecutor(max_workers=2 * self._slots)
        sys.setswitchinterval(SWITCH_SECONDS)
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)

    @property
    def num_processes(self) -> int:
        """The number of messages that may be at work; Celery takes the next one below it."""
        return self._slots + self._apart

    def set_apart(self, messages: int) -> None:
        """So many of the messages at work, at most as many as there are slots, need none. From any thread."""
        self._apart = messages
        self._ring(None)

    def register_with_event_loop(self, hub: Any) -> None:
        """Called anew after each loss of the connection to Redis."""
        hub.add_reader(self._bell, self._hush)

    def on_apply(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        result = super().on_apply(target, *args, **options)
        # Runs in the pool's thread, after Celery has noted the end of the task.
        result.f.add_done_callback(self._ring)
        return result

    def _ring(self, _: object) -> None:
        with contextlib.suppress(OSError):  # full: it has not been heard yet
            self._button.send(b"!")

    def _hush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass
