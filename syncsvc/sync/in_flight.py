"""How many requests this process has open to each app, over all its runs."""

import threading
from collections import Counter


class InFlight:
    """A window of requests per app, by its id as text; threads take places in it and give them back."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, app: str, *, limit: int) -> bool:
        """Takes a place where fewer than `limit` are taken."""
        with self._changed:
            if self._open[app] >= limit:
                return False
            self._open[app] += 1
            return True

    def give_back(self, app: str, places: int = 1) -> None:
        with self._changed:
            self._open[app] -= places
            if not self._open[app]:
                del self._open[app]
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until any place is given back, at most `seconds`."""
        with self._changed:
            self._changed.wait(seconds)


IN_FLIGHT = InFlight()
