"""Operations that pages show without being asked: those that go on, and those that have just ended."""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

# An operation that has ended stays where its button is for so many seconds.
LINGER_SECONDS = 60
# The index operation_newest finds those that began since; older ones are not looked for.
NEWER_THAN_DAYS = 1

# A condition about a row of syncsvc_operation.
SHOWN_SQL = f"""(finished_at IS NULL
  OR created_at > statement_timestamp() - make_interval(days => {NEWER_THAN_DAYS})
     AND finished_at > statement_timestamp() - make_interval(secs => {LINGER_SECONDS}))"""


def is_shown() -> Q:
    """SHOWN_SQL for the ORM."""
    ended = Q(finished_at__gt=Now() - timedelta(seconds=LINGER_SECONDS))
    return Q(finished_at=None) | ended & Q(created_at__gt=Now() - timedelta(days=NEWER_THAN_DAYS))
