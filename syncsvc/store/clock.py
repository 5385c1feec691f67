"""The database's clock, which is the only one."""

from datetime import datetime

from syncsvc.store.statements import fetch_one

# Reads the clock. Locks nothing. Called where a time is compared with those of rows.
_NOW = "SELECT statement_timestamp()"


def database_time() -> datetime:
    """Time of this statement, as Django's Now() gives it, which rows are stamped with."""
    row = fetch_one(_NOW, {})
    assert row is not None  # noqa: S101 - for the type
    now: datetime = row[0]
    return now
