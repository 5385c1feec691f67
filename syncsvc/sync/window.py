"""Windows of requests in flight: one an app in each process, shared by its runs, learned from refusals."""

import threading
from dataclasses import dataclass


@dataclass(slots=True)
class _Window:
    """`size` is how many requests may be open; `round` counts the refusals that halved it."""

    size: int
    open: int = 0
    round: int = 0
    acknowledged: int = 0


class Windows:
    """Threads take places in an app's window and give them back. Apps are known by their id as text.

    A refusal halves the window once a round: refusals of requests that were out before the last halving do not count
    again. Each window of acknowledgements without a refusal adds one place, up to the app's limit. What was learned is
    kept for the app's next run in this process.
    """

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._changed = threading.Condition()

    def take(self, app: str, *, limit: int) -> int | None:
        """Takes a place; the round that the request belongs to, None where the window is full."""
        with self._changed:
            window = self._windows.get(app) or self._windows.setdefault(app, _Window(limit))
            if window.open >= min(window.size, limit):
                return None
            window.open += 1
            return window.round

    def give_back(self, app: str, places: int = 1, *, limit: int) -> None:
        with self._changed:
            window = self._windows[app]
            window.open -= places
            if not window.open and window.size >= limit:
                del self._windows[app]
            self._changed.notify_all()

    def acknowledged(self, app: str, *, limit: int) -> None:
        with self._changed:
            window = self._windows[app]
            if window.size >= limit:
                return
            window.acknowledged += 1
            if window.acknowledged >= window.size:
                window.size, window.acknowledged = window.size + 1, 0

    def refused(self, app: str, round: int) -> bool:
        """Halves the window for a request of the present round; False for one of an earlier round."""
        with self._changed:
            window = self._windows[app]
            if round < window.round:
                return False
            window.size, window.acknowledged = max(1, window.size // 2), 0
            window.round += 1
            return True

    def size(self, app: str) -> int | None:
        """Places of a window that is narrower than its limit, or in use; None where nothing was learned."""
        with self._changed:
            window = self._windows.get(app)
            return window.size if window else None

    def wait(self, seconds: float) -> None:
        """Until any place is given back, at most `seconds`."""
        with self._changed:
            self._changed.wait(seconds)


WINDOWS = Windows()
