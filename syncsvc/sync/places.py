"""The places in its app's window that one run holds."""

import time

from syncsvc.models import App
from syncsvc.sync.cargo import Cargo, Parts
from syncsvc.sync.rate import RATE
from syncsvc.sync.window import WINDOWS

# Big files on their way at once: each has a git and a part in memory.
PARTS_OPEN = 2


class Places:
    """Where the app's window has a place, and its limit a permit, one more request may go out. One thread's."""

    def __init__(self, app: App) -> None:
        self._app = str(app.id)
        self.taken = 0
        self._parts = 0
        self._is_full = False
        self._permit_at = 0.0
        self.follow(app)

    def follow(self, app: App) -> None:
        """Takes over the app's limits."""
        self.limit, self._per_second = app.max_in_flight, app.max_per_second

    @property
    def takes_parts(self) -> bool:
        """Another big file may be on its way."""
        return self._parts < PARTS_OPEN

    def take(self, cargo: Cargo) -> int | None:
        """The window's round that the request belongs to; None where it must wait."""
        round = WINDOWS.take(self._app, limit=self.limit)
        self._is_full = round is None
        if round is None:
            return None
        if self._per_second and (wait := RATE.take(self._app, self._per_second)):
            self._permit_at = time.monotonic() + wait
            WINDOWS.give_back(self._app)
            return None
        self.taken += 1
        self._parts += isinstance(cargo, Parts)
        return round

    def leave(self, cargo: Cargo) -> None:
        """It is not on its way any more."""
        self.taken -= 1
        self._parts -= isinstance(cargo, Parts)
        WINDOWS.give_back(self._app)

    def leave_all(self) -> None:
        if self.taken:
            WINDOWS.give_back(self._app, self.taken)
        self.taken = self._parts = 0

    def acknowledged(self, round: int) -> None:
        WINDOWS.acknowledged(self._app, round, limit=self.limit)

    def refused(self, round: int) -> bool:
        """True for the first refusal of its round, which halves the window."""
        return WINDOWS.refused(self._app, round, limit=self.limit)

    @property
    def permit_in(self) -> float:
        """Seconds until the limit has a permit again; in the past where it was not asked since."""
        return self._permit_at - time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until another run gives a place back, where that is missing; at most `seconds`."""
        if self._is_full:
            WINDOWS.wait(self._app, seconds, limit=self.limit)
        else:
            time.sleep(seconds)
