"""How much is measured, and what comes of it: a line of the table."""

from dataclasses import dataclass, field

MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done. `--quick` does less of it and says so: its table is for a first look."""

    rounds: int = 3
    short_rounds: int = 9
    first_sync: int = 10_000
    plain_files: int = 1_000
    known: int = 80_000
    many: int = 200_000
    big: int = 1 << 30
    bulk_apps: int = 40
    bulk_rounds: int = 1
    few_apps: int = 6
    frozen: int = 10_000
    pages: float = 1.0  # of the whole of `seed_scale`
    tabs_seconds: float = 30.0
    hanging: int = 200
    silent: int = 100
    slow_clients: int = 2_000
    slow_seconds: float = 40.0


QUICK = Scale(
    rounds=1,
    short_rounds=3,
    first_sync=3_000,
    plain_files=300,
    known=8_000,
    many=20_000,
    big=64 * MB,
    bulk_apps=6,
    few_apps=2,
    frozen=2_000,
    pages=0.05,
    tabs_seconds=8.0,
    hanging=60,
    silent=30,
    slow_clients=500,
    slow_seconds=12.0,
)


@dataclass(frozen=True, slots=True)
class Result:
    what: str
    against: str
    measured: str
    reference: str
    ratio: str
    goal: str
    met: bool
    notes: list[str] = field(default_factory=list)
