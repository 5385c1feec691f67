"""An app whose endpoint asked for fewer requests: how long it is left alone, and which run goes first afterwards.

Each verb is one statement on the app's row, so that many workers may call it. Times are the database's.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.models import App
from syncsvc.store.statements import fetch_one

# Seconds after the end of a wait from which on silence is not the endpoint's: nothing was sent to it.
IDLE_SECONDS = 60

# Lengthens the wait: by what the endpoint asked for, else by a step that doubles; it never gets shorter. A refusal
# without a Retry-After that comes while the app waits belongs to that wait. Time in which nobody tried (a pause, no
# changes) is no silence of the endpoint. Frees the place of the run that went first: its own (`mine`), or any where no
# circuit is open, whose probe has the same place. Says whether a wait began. Does nothing where the app has another URL
# by now. Locks the app, which the caller has locked before: a statement that waits for the lock mixes the row of before
# with that of after. Called once a round of refusals.
_THROTTLE = """
UPDATE syncsvc_app SET
  throttled_until = CASE WHEN %(asked)s::float8 IS NULL AND waits THEN throttled_until
                         ELSE greatest(throttled_until, clock_timestamp() + make_interval(secs => wait)) END,
  throttled_at = clock_timestamp(),
  throttled_since = coalesce(
    throttled_since + greatest(clock_timestamp() - throttled_until - make_interval(secs => %(idle)s), interval '0'),
    clock_timestamp()),
  throttle_step = CASE WHEN %(asked)s::float8 IS NULL AND NOT waits THEN wait ELSE throttle_step END,
  probe_until = CASE WHEN circuit_opened_at IS NULL OR %(mine)s::bool THEN NULL ELSE probe_until END
FROM (
  SELECT id AS app_id, coalesce(throttled_until > clock_timestamp(), FALSE) AS waits,
    coalesce(%(asked)s::float8, least(greatest(throttle_step * 2, %(first)s::float8), %(most)s::float8)) AS wait
  FROM syncsvc_app WHERE id = %(app)s AND url = %(url)s
) before
WHERE id = app_id
RETURNING extract(epoch FROM throttled_until - clock_timestamp())::float8,
          extract(epoch FROM clock_timestamp() - throttled_since)::float8, NOT waits
"""

# Columns of an app `a`: seconds that it is left alone yet, and seconds without an acknowledgement; null where it is not
# throttled. As above, time in which nobody tried does not count.
STATE_COLUMNS = f"""
  extract(epoch FROM a.throttled_until - clock_timestamp())::float8,
  extract(epoch FROM least(clock_timestamp(), a.throttled_until + make_interval(secs => {IDLE_SECONDS}))
    - a.throttled_since)::float8"""

# Reads how long the app is left alone yet. Locks nothing. Called before a run sends, and when a wait is over.
_STATE = f"""
SELECT {STATE_COLUMNS}
FROM syncsvc_app a WHERE a.id = %(app)s AND a.throttled_until IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Seconds that the app is left alone yet (0: it may be tried), and seconds without an acknowledgement."""

    remaining: float
    silent: float


def throttle(
    app_id: uuid.UUID, *, url: str, asked: float | None, first: float, most: float, went_first: bool = False
) -> tuple[Throttled | None, bool]:
    """Notes a refusal, and says whether a wait began with it: the app was not waiting already.

    None where the app has another URL than the one that refused. `asked` is the time that the endpoint asked for, in
    seconds, already bounded; None: a step that doubles, from `first` seconds to `most`. `went_first`: the run that met
    the refusal had the place of the first run.
    """
    values = {
        "app": app_id,
        "url": url,
        "asked": asked,
        "first": first,
        "most": most,
        "idle": IDLE_SECONDS,
        "mine": went_first,
    }
    with transaction.atomic():
        App.objects.select_for_update(no_key=True).filter(id=app_id).values_list("id").first()
        row = fetch_one(_THROTTLE, values)
    return (throttled_of(row[0], row[1]), row[2]) if row else (None, False)


def throttled(app_id: uuid.UUID) -> Throttled | None:
    """None where the app is not throttled."""
    row = fetch_one(_STATE, {"app": app_id})
    return throttled_of(row[0], row[1]) if row else None


def throttled_of(remaining: float, silent: float) -> Throttled:
    """Of the columns of a statement."""
    return Throttled(max(0.0, remaining), silent)


def go_first(app_id: uuid.UUID, *, early: bool, seconds: float) -> bool:
    """Claims the first request after a wait, for so many seconds; `early`: also while the wait lasts."""
    free = Q(probe_until=None) | Q(probe_until__lte=Now())
    over = Q() if early else Q(throttled_until__lte=Now())
    first = App.objects.filter(free, over, id=app_id, throttled_until__isnull=False)
    return first.update(probe_until=Now() + timedelta(seconds=seconds)) == 1


def give_way(app_id: uuid.UUID) -> None:
    """Gives back the place of the run that went first."""
    App.objects.filter(id=app_id, throttled_until__isnull=False).update(probe_until=None)


def forget(app_id: uuid.UUID) -> None:
    """The app has another URL, which asked for nothing yet."""
    App.objects.filter(id=app_id, throttled_until__isnull=False).update(
        throttled_until=None, throttled_at=None, throttled_since=None, throttle_step=0
    )


def end_throttle(app_id: uuid.UUID, *, sent_at: datetime) -> bool:
    """Ends the wait, unless the endpoint refused another request since `sent_at`; says whether it did."""
    ended = App.objects.filter(id=app_id, throttled_until__isnull=False, throttled_at__lt=sent_at).update(
        throttled_until=None, throttled_at=None, throttled_since=None, throttle_step=0, probe_until=None
    )
    return ended == 1
