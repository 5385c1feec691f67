"""Runs of repositories that have exceeded a limit before: one at a time of them reads git in a worker process."""

import threading


class Place:
    """The one place that suspects have in this process; each run has a `Place` of its own, and takes it or does not."""

    _lock = threading.Lock()

    def __init__(self) -> None:
        self._is_mine = False

    def take(self) -> bool:
        """False where another suspect has it."""
        self._is_mine = self._lock.acquire(blocking=False)
        return self._is_mine

    def leave(self) -> None:
        """Harmless where it was not taken, or was left already."""
        if self._is_mine:
            self._is_mine = False
            self._lock.release()
