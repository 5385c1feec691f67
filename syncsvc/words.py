"""Numbers in words: counts, sizes and times read alike in the console, in commands and in messages."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

DAY, HOUR, MINUTE = 86400, 3600, 60
UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1, "s"))
VOWELS = "aeiou"


def plural(number: int, one: str, many: str = "") -> str:
    """The noun or verb that goes with the number. `many` is needed for a verb; a noun's plural is made by rule."""
    return one if number == 1 else many or _plural_of(one)


def counted(number: int, noun: str) -> str:
    """`1 file`, `4,512 files`, `2 failed subscriptions`."""
    return f"{number:,} {plural(number, noun)}"


def pace_text(a_second: float, noun: str) -> str:
    """`96 requests a second`, `0.4 files a second`: below ten with a digit more."""
    number = f"{a_second:.1f}".removesuffix(".0") if a_second < 9.95 else f"{a_second:,.0f}"
    return f"{number} {plural(1 if number == '1' else 2, noun)} a second"


def listed(counts: Iterable[tuple[int, str]], *, nothing: str = "") -> str:
    """`12 created, 1,003 deleted`: each count that is not 0 before its word; `nothing` where all are."""
    return ", ".join(f"{count:,} {word}" for count, word in counts if count) or nothing


def changes(*, created: int, updated: int, deleted: int, nothing: str = "") -> str:
    """`12 created, 3 deleted`."""
    return listed(((created, "created"), (updated, "updated"), (deleted, "deleted")), nothing=nothing)


def left_out_text(*, submodules: int, long_paths: int, large_files: int, unsafe_paths: int) -> str:
    """`2 submodules, 1 large file`: what of a commit is not sent; blank where nothing is left out."""
    parts = ((submodules, "submodule"), (long_paths, "long path"), (large_files, "large file"))
    return ", ".join(counted(number, noun) for number, noun in (*parts, (unsafe_paths, "unsafe path")) if number)


def size(size_in_bytes: float) -> str:
    """`31 MB`, `1.4 MB`, `820 kB`: decimal, as disks and networks are measured."""
    if size_in_bytes < 1000:
        return f"{size_in_bytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size_in_bytes /= 1000
        if size_in_bytes < 999.5 or unit == "GB":
            break
    return f"{size_in_bytes:,.1f} {unit}" if size_in_bytes < 9.95 else f"{size_in_bytes:,.0f} {unit}"


def relative(distance: timedelta) -> str:
    """`3 min ago`, `in 2 h`: the largest unit, rounded down."""
    seconds = int(abs(distance).total_seconds())
    for step, unit in UNITS:
        if seconds >= step:
            amount = f"{seconds // step} {unit}"
            return f"in {amount}" if distance > timedelta() else f"{amount} ago"
    return "now"


def clock(at: datetime, *, now: datetime) -> str:
    """`10:02:31 UTC`, with the date where that is another day's: for an end, which stays true while it is read."""
    exact = at.astimezone(UTC)
    date = "" if exact.date() == now.astimezone(UTC).date() else f"{exact:%Y-%m-%d} "
    return f"{date}{exact:%H:%M:%S} UTC"


def span(seconds: float) -> str:
    """`40 s`, `90 s`, `5 min`, `3 h`, about: the largest unit that there are two of."""
    for step, unit in UNITS:
        if seconds >= 2 * step:
            return f"{seconds / step:.0f} {unit}"
    return f"{seconds:.0f} s"


def exact_span(seconds: int) -> str:
    """`90 s`, `15 min`, `6 h`: the largest unit that leaves no rest."""
    step, unit = next(((step, unit) for step, unit in UNITS if seconds >= step and seconds % step == 0), (1, "s"))
    return f"{seconds // step:,} {unit}"


def left(seconds: float | None) -> str:
    """`about 40 s left`; blank where nobody knows."""
    return f"about {span(max(seconds, 1))} left" if seconds else ""


def _plural_of(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}s"
