"""What runs of one process have in common, kept for a while: an app's run often needs what another's has just read."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

# Seconds between two calls of `interrupt` while another thread makes the value.
LOOK_SECONDS = 0.25


class Shared[V]:
    """Values by key, made once where many ask at the same time; the least recently used give way.

    `room` bounds the sum of what `cost` says of each. Thread-safe.
    """

    def __init__(self, *, room: int, cost: Callable[[V], int] = lambda _: 1) -> None:
        self._room, self._cost = room, cost
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._used = 0
        self._lock = threading.Lock()

    def get(
        self,
        key: Hashable,
        make: Callable[[], V],
        *,
        good: Callable[[V], bool] = lambda _: True,
        interrupt: Callable[[], None] | None = None,
    ) -> V:
        """The value that is there, if it is `good`; else what `make` gives, which others then find.

        `interrupt` is called while another thread makes the value; it may raise, which ends the wait.
        """
        with self._lock:
            if key in self._values and good(value := self._values[key]):
                self._values.move_to_end(key)
                return value
            making = self._making.setdefault(key, threading.Lock())
        with _held(making, interrupt):
            with self._lock:
                if key in self._values and good(value := self._values[key]):
                    return value
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def _keep(self, key: Hashable, value: V) -> None:
        with self._lock:
            if key in self._values:
                self._used -= self._cost(self._values.pop(key))
            self._values[key] = value
            self._used += self._cost(value)
            while self._used > self._room and len(self._values) > 1:
                _, dropped = self._values.popitem(last=False)
                self._used -= self._cost(dropped)


@contextmanager
def _held(lock: threading.Lock, interrupt: Callable[[], None] | None) -> Iterator[None]:
    while not lock.acquire(timeout=LOOK_SECONDS if interrupt else -1):
        if interrupt:
            interrupt()
    try:
        yield
    finally:
        lock.release()
