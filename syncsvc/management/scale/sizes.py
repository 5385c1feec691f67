"""How many rows of each table, and how subscriptions are shared out among apps."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The whole scale: what a large installation has after two weeks."""

    apps: int = 500
    repositories: int = 2_000
    subscriptions: int = 10_000
    snapshots: int = 20  # of each repository
    runs: int = 200_000
    attempts: int = 2_000_000
    ledger: int = 5_000_000
    operations: int = 200  # that have ended

    @classmethod
    def scaled(cls, scale: float) -> Self:
        whole = cls()
        apps, repositories = _part(whole.apps, scale), _part(whole.repositories, scale)
        subscriptions = min(_part(whole.subscriptions, scale), apps * repositories)
        return cls(
            apps=apps,
            repositories=repositories,
            subscriptions=subscriptions,
            runs=max(_part(whole.runs, scale), 2 * subscriptions),  # one that runs or has failed, one before it
            attempts=_part(whole.attempts, scale),
            ledger=_part(whole.ledger, scale),
            operations=_part(whole.operations, scale),
        )

    def subscriptions_of_each_app(self) -> list[int]:
        """Few apps have many, many have few, as everywhere: the nth has 1/n^0.65 of the first's, and all have one."""
        shares = [1 / number**0.65 for number in range(1, self.apps + 1)]
        counts, left = [1] * self.apps, self.subscriptions - self.apps
        while left > 0:
            room = [number for number in range(self.apps) if counts[number] < self.repositories]
            total = sum(shares[number] for number in room)
            wanted = left
            for number in room:
                more = min(round(wanted * shares[number] / total), self.repositories - counts[number], left)
                more = more or min(1, left)  # rounding must not keep this from ending
                counts[number] += more
                left -= more
        return counts


def _part(whole: int, scale: float) -> int:
    return max(1, round(whole * scale))
