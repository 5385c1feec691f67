"""Windows of requests in flight: one an app in each process, shared by its runs, learned from refusals."""

import threading


class _Window:
    """`size` is None where nothing was learned: it is as wide as the app's limit. `round` counts halvings."""

    __slots__ = ("acknowledged", "changed", "open", "round", "size", "waiting")

    def __init__(self, lock: threading.Lock) -> None:
        self.size: int | None = None
        self.open = 0
        self.round = 0
        self.acknowledged = 0
        self.waiting = 0
        self.changed = threading.Condition(lock)

    def width(self, limit: int) -> int:
        return limit if self.size is None else min(self.size, limit)


class Windows:
    """Threads take places in an app's window and give them back. Apps are known by their id as text.

    A refusal halves the window once a round: requests that were out at the last halving belong to the round before it,
    and count neither as refusals nor as acknowledgements. Each window of acknowledgements without a refusal adds one
    place, up to the app's limit. The width that was learned is kept for the app's next run in this process.
    """

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def take(self, app: str, *, limit: int) -> int | None:
        """Takes a place; the round that the request belongs to, None where the window is full."""
        with self._lock:
            window = self._window(app)
            if window.open >= window.width(limit):
                return None
            window.open += 1
            return window.round

    def give_back(self, app: str, places: int = 1) -> None:
        with self._lock:
            window = self._windows[app]
            window.open -= places
            if window.waiting:
                window.changed.notify_all()
            else:
                self._forget(app, window)

    def acknowledged(self, app: str, round: int, *, limit: int) -> None:
        """Counts an acknowledgement. The caller holds a place."""
        window = self._windows[app]
        if window.size is None:  # most are as wide as they may be: the lock is not worth its time
            return
        with self._lock:
            if window.size is None or round < window.round:
                return
            window.acknowledged += 1
            if window.acknowledged >= window.size:
                window.size, window.acknowledged = window.size + 1, 0
            if window.size >= limit:
                window.size = None

    def refused(self, app: str, round: int, *, limit: int) -> bool:
        """Halves the window for a request of the present round; False for one of an earlier round.

        The caller holds a place.
        """
        with self._lock:
            window = self._windows[app]
            if round < window.round:
                return False
            window.size, window.acknowledged = max(1, window.width(limit) // 2), 0
            window.round += 1
            return True

    def width(self, app: str, *, limit: int) -> int:
        """Places that the app's window has, taken or not."""
        with self._lock:
            window = self._windows.get(app)
            return window.width(limit) if window else limit

    def wait(self, app: str, seconds: float, *, limit: int) -> None:
        """Until the app's window has room, or a place was given back; at most `seconds`."""
        with self._lock:
            window = self._window(app)
            if window.open < window.width(limit):
                return
            window.waiting += 1
            window.changed.wait(seconds)
            window.waiting -= 1
            self._forget(app, window)

    def _window(self, app: str) -> _Window:
        return self._windows.get(app) or self._windows.setdefault(app, _Window(self._lock))

    def _forget(self, app: str, window: _Window) -> None:
        """Drops a window that no run uses and that has learned nothing."""
        if not window.open and not window.waiting and window.size is None:
            self._windows.pop(app, None)


WINDOWS = Windows()
