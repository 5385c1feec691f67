"""What a run sends next: cargo in order, but small files do not wait behind big ones."""

from collections import deque
from collections.abc import Iterator

from syncsvc.sync.cargo import Cargo, Parts
from syncsvc.sync.loading import Damaged
from syncsvc.sync.spool import GROUP


class Supply:
    """One kind's cargo; `first` is what goes before the rest: put back, or to be sent one by one."""

    def __init__(self, cargo: Iterator[Cargo | Damaged], first: deque[Cargo | Damaged]) -> None:
        self._cargo, self._first = cargo, first
        self._aside: deque[Parts] = deque()
        self._ended = False

    @property
    def empty(self) -> bool:
        return self._ended and not self._first and not self._aside

    def take(self, *, parts: bool) -> Cargo | Damaged | None:
        """The next one; `parts` says whether another big file may begin. None: nothing can be sent now."""
        if self._first:
            return self._first.popleft()
        if parts and self._aside:
            return self._aside.popleft()
        cargo = next(self._cargo, None)
        self._ended = self._ended or cargo is None
        return cargo

    def put_back(self, cargo: Cargo | Damaged) -> None:
        self._first.appendleft(cargo)

    def put_aside(self, parts: Parts) -> bool:
        """Lets others pass a big file; False where enough stand aside: then it is the next one again."""
        if len(self._aside) < GROUP:
            self._aside.append(parts)
            return True
        self.put_back(parts)
        return False
