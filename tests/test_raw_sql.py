"""Which modules go round the ORM, and why: what they write, no on_delete, signal or `save` of Django sees."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A statement of its own, or a delete that looks at nothing that refers to it.
RAW = re.compile(
    r"\.execute\(|\.executemany\(|\.copy\(f?\"|cursor\.copy\(|\bRawSQL\(|\.raw\(|\.extra\(|_raw_delete|\bfetch_one\(|hot_cursor\("
)
# Other things are executed too.
NO_SQL = {
    "syncsvc/git/process.py": "git",
    "syncsvc/sync/health.py": "a pipeline of Redis",
    "syncsvc/management/base.py": "the command itself",
}
READS = "reads only"
REASONS = {
    "syncsvc/admin/history.py": "sets the time-out of one page's queries",
    "syncsvc/management/postgres.py": "makes the database itself",
    "syncsvc/management/scale/seeding.py": "fills an empty database with millions of rows",
    "syncsvc/management/waiting.py": READS,
    "syncsvc/models/app.py": "the circuit: RETURNING of what was before, in one statement",
    "syncsvc/models/attempt.py": "COPY of attempts; locks their run, so that a delete waits",
    "syncsvc/models/failing_sql.py": READS,
    "syncsvc/models/hot.py": "prepares what others execute",
    "syncsvc/models/ledger.py": "upserts of hundreds of rows by unnest, under the lock of their subscription",
    "syncsvc/models/operation.py": "moves items and counts in one statement",
    "syncsvc/models/overview_sql.py": READS,
    "syncsvc/models/page_sql.py": READS,
    "syncsvc/models/queue_sql.py": READS,
    "syncsvc/models/repository.py": "counts a failure of git and opens the circuit in one statement",
    "syncsvc/models/run.py": "RETURNING of the run that ends",
    "syncsvc/models/transitions.py": "claim and end of a run: several tables in one statement; renewal of leases",
    "syncsvc/operations/bulk.py": "freezes an operation's items with one INSERT … SELECT, under the lock of the chosen",
    "syncsvc/operations/preview.py": "asks for the database's time",
}


def test_modules_that_go_round_the_orm_are_listed_with_their_reason() -> None:
    """A new one says here what it writes; then tests/models/test_on_delete.py must still hold."""
    found = {
        str(file.relative_to(ROOT))
        for folder in ("syncsvc", "config")
        for file in (ROOT / folder).rglob("*.py")
        if "migrations" not in file.parts and RAW.search(file.read_text(encoding="utf-8"))
    }
    assert found - NO_SQL.keys() == REASONS.keys()


def test_no_module_deletes_rows_with_a_statement_of_its_own_but_the_ledger() -> None:
    """Deletes go through the ORM, or the database's own ON DELETE."""
    found = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "syncsvc").rglob("*.py")
        if "migrations" not in file.parts and re.search(r"\bDELETE FROM\b|\bTRUNCATE\b", file.read_text("utf-8"))
    }
    assert found == {"syncsvc/models/ledger.py"}
