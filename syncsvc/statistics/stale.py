"""Repositories that are not polled as they should be."""

from datetime import datetime

from syncsvc.models import Repository

# A repository is stale when so many of its polls, and so many seconds, have gone by without an answer.
POLLS, SECONDS = 3, 300

# A condition about a row of syncsvc_repository; `poll` is the setting POLL_SECONDS.
STALE_SQL = f"""(is_active AND coalesce(checked_at, created_at) < statement_timestamp()
  - make_interval(secs => greatest({POLLS} * coalesce(poll_seconds, %(poll)s), {SECONDS})))"""


def is_stale(repository: Repository, now: datetime) -> bool:
    """STALE_SQL of a row that has been read."""
    seen = repository.checked_at or repository.created_at
    silent = (now - seen).total_seconds()
    return repository.is_active and silent > max(POLLS * repository.poll_interval, SECONDS)
