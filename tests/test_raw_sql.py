"""Which modules go round the ORM, and why: what they write, no on_delete, signal or `save` of Django sees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    "syncsvc/management/commands/migrate.py": "the command itself",
}
READS = "reads only"
REASONS = {
    "syncsvc/management/postgres.py": "makes the database itself",
    "syncsvc/management/scale/seeding.py": "fills an empty database with millions of rows",
    "syncsvc/production.py": READS,
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
    "syncsvc/store/roles.py": "makes the application's role, and says what it may do",
    "syncsvc/store/runs.py": "RETURNING of the run that ends",
    "syncsvc/store/statements.py": "prepares what others execute; sets the time-out of one page's queries",
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


STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE|COPY)\b")
RUNS_SQL = {"execute", "fetch_one", "fetch_all", "copy"}


def begins_statement(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str(text)) | ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return STATEMENT.match(text) is not None
        case ast.BinOp(left=left):
            return begins_statement(left)
    return False


def problems(source: str) -> Iterator[str]:
    """Statements without a comment above them that says what they do, what they lock and what calls them."""
    tree, lines = ast.parse(source), source.splitlines()
    for node in tree.body:
        if isinstance(node, ast.Assign) and begins_statement(node.value):
            comment: list[str] = []
            for line in reversed(lines[: node.lineno - 1]):
                if not line.startswith("#"):
                    break
                comment.append(line)
            said = " ".join([*comment, ast.get_docstring(tree) or ""])
            if not comment or not re.search(r"\b[Ll]ock(s|ed)\b", said) or "Called" not in said:
                yield f"line {node.lineno}: {ast.unparse(node.targets[0])} says too little"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not begins_statement(node.args[0]):
            continue
        if ast.unparse(node.func).rpartition(".")[2] in RUNS_SQL:
            yield f"line {node.lineno}: a statement without a name"


@pytest.mark.parametrize(
    "source",
    [
        '_ALL = "SELECT 1"',
        '# Reads all.\n_ALL = "SELECT 1"',
        '# Reads all. Locks nothing.\n_ALL = """\nWITH x AS (SELECT 1) SELECT * FROM x"""',
        '# Called by all.\n_ALL = f"""UPDATE {table} SET a = 1"""',
        '# Called by all.\n_ALL = ("""UPDATE a SET a = 1""" + OTHER)',
        'cursor.execute("SELECT 1")',
        'fetch_one(f"SELECT {columns}", {})',
    ],
)
def test_a_statement_that_says_too_little_is_seen(source: str) -> None:
    assert len(list(problems(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        '# Reads all. Locks nothing. Called by each.\n_ALL = "SELECT 1"',
        '"""Locks the row. Called by runs."""\n\n# Reads all.\n_ALL = "SELECT 1"',
        '_PART = "a.id = b.id"',
        "fetch_one(_ALL, {})",
    ],
)
def test_a_statement_that_says_enough_is_left_alone(source: str) -> None:
    assert list(problems(source)) == []


@pytest.mark.parametrize("folder", ["store", "statistics"])
def test_each_statement_has_a_name_and_says_what_it_does_what_it_locks_and_what_calls_it(folder: str) -> None:
    found = {
        file.name: wrong
        for file in (ROOT / "syncsvc" / folder).glob("*.py")
        if (wrong := list(problems(file.read_text(encoding="utf-8"))))
    }
    assert found == {}
