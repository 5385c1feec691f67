"""The time that one run may spend on reading a repository's files and planning, in all."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from syncsvc.exceptions import TooLargeError


class PlanTime:
    """A stopwatch with a limit in seconds; it stands still while the run does something else."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._used = 0.0
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time inside. May be entered again while it runs."""
        if self._since is not None:
            yield
            return
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._used += time.monotonic() - self._since
            self._since = None

    def check(self) -> None:
        """Raises TooLargeError once the limit has passed."""
        if self._since is not None and self._used + time.monotonic() - self._since > self.limit:
            raise TooLargeError(
                f"Reading the commit's files and comparing them took longer than {self.limit:g} s",
                limit="PLAN_SECONDS",
                otherwise="follow a branch with fewer files and folders",
            )
