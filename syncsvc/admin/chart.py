"""A day of files delivered and failed, by the hour, as a small picture and as a table."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Sum
from django.db.models.functions import Now, TruncHour
from django.template.loader import render_to_string

from syncsvc.admin.kept import SECONDS as SOON
from syncsvc.admin.kept import VERSION, kept
from syncsvc.admin.parts import DAY_SECONDS, RESTING_SECONDS
from syncsvc.models import SyncRun

TEMPLATE = "admin/syncsvc/overview.html#chart"
HOURS = 24
MANY = 2_000  # runs of a day; reading them takes some milliseconds for each thousand
WIDTH, HEIGHT, GAP = 20, 100, 4
SEEN = 2  # what is not nothing is seen, however small


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the chart, in files; `good` and `bad` are heights, and `top` is where the bad begins."""

    at: datetime
    delivered: int
    failed: int
    x: int
    good: int
    bad: int

    @property
    def good_y(self) -> int:
        return HEIGHT - self.good

    @property
    def bad_y(self) -> int:
        return HEIGHT - self.good - self.bad


def chart() -> str:
    return kept("chart", _render, seconds=_seconds)


def _seconds(text: str) -> float:
    """Seconds for which the picture is kept: a tab that asks for it once a minute shows many runs."""
    return DAY_SECONDS if f'data-every="{DAY_SECONDS}"' in text else SOON


def _render() -> str:
    hours, number = _hours()
    context = {
        "version": VERSION,
        "every": DAY_SECONDS if number > MANY else RESTING_SECONDS,
        "hours": hours,
        "delivered": sum(hour.delivered for hour in hours),
        "failed": sum(hour.failed for hour in hours),
        "most": max(hour.delivered + hour.failed for hour in hours),
        "width": WIDTH * len(hours),
        "height": HEIGHT,
        "bar": WIDTH - GAP,
    }
    return render_to_string(TEMPLATE, context)


def _hours() -> tuple[list[Hour], int]:
    """The whole hours of a day and the one that has begun; and the number of runs that were read for them."""
    begins = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    runs = SyncRun.objects.filter(started_at__gte=begins, started_at__lte=Now()).order_by()
    counted = runs.values(hour=TruncHour("started_at")).annotate(
        sent=Sum("delivered"), lost=Sum("failed"), number=Count("id")
    )
    read = list(counted)
    found = {row["hour"]: (row["sent"], row["lost"]) for row in read}
    rows = [(at, *found.get(at, (0, 0))) for at in (begins + timedelta(hours=n) for n in range(HOURS))]
    most = max(1, *(sent + lost for _, sent, lost in rows))
    hours = [
        Hour(at, sent, lost, number * WIDTH + GAP // 2, _height(sent, most), _height(lost, most))
        for number, (at, sent, lost) in enumerate(rows)
    ]
    return hours, sum(row["number"] for row in read)


def _height(files: int, most: int) -> int:
    return max(SEEN, round(files / most * (HEIGHT - 2 * SEEN))) if files else 0
