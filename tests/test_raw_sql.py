"""Which modules go round the ORM, and why: what they write, no on_delete, signal or `save` of Django sees."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A statement of its own, or a delete that looks at nothing that refers to it.
RAW = re.compile(
    r"\.execute\(|\.executemany\(|\.copy\(f?\"|cursor\.copy\(|\bRawSQL\(|\.raw\(|\.extra\(|_raw_delete|\bfetch_one\(|\bfetch_all\(|\bexecute\(|prepared_cursor\("
)
# Other things are executed too.
NO_SQL = {
    "syncsvc/git/process.py": "git",
    "syncsvc/operations/progress.py": "a pipeline of Redis",
    "syncsvc/sync/health.py": "a pipeline of Redis",
    "syncsvc/sync/present_pace.py": "a pipeline of Redis",
    "syncsvc/management/base.py": "the command itself",
}
READS = "reads only"
REASONS = {
    "syncsvc/admin/history.py": "sets the time-out of one page's queries",
    "syncsvc/management/postgres.py": "makes the database itself",
    "syncsvc/management/scale/seeding.py": "fills an empty database with millions of rows",
    "syncsvc/statistics/failures.py": READS,
    "syncsvc/statistics/overview.py": READS,
    "syncsvc/statistics/pages.py": READS,
    "syncsvc/statistics/queue.py": READS,
    "syncsvc/statistics/waiting.py": READS,
    "syncsvc/store/attempts.py": "COPY of attempts; locks their run, so that a delete waits",
    "syncsvc/store/circuits.py": "the circuit: counts and RETURNING in one statement",
    "syncsvc/store/claim.py": "the claim: several tables in one statement",
    "syncsvc/store/clock.py": READS,
    "syncsvc/store/complete.py": "the end of a run: several tables in one statement",
    "syncsvc/store/leases.py": "renews many leases in the order of their ids",
    "syncsvc/store/ledger.py": "upserts of hundreds of rows by unnest, under the lock of their subscription",
    "syncsvc/store/looks.py": READS,
    "syncsvc/store/moves.py": "counts a ledger's rows into its subscription",
    "syncsvc/store/operations.py": "freezes and moves items with their counts in one statement",
    "syncsvc/store/polls.py": "marks the polls that are due, a share of each host's, in one statement",
    "syncsvc/store/remote_hosts.py": "a host's circuit: arrays and RETURNING in one statement",
    "syncsvc/store/repository_circuits.py": "a repository's circuit: cool-downs in one statement",
    "syncsvc/store/runs.py": "RETURNING of the run that ends",
    "syncsvc/store/statements.py": "prepares what others execute",
    "syncsvc/store/throttles.py": "the wait that an endpoint asked for: RETURNING in one statement",
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
    assert found == {"syncsvc/store/ledger.py"}
