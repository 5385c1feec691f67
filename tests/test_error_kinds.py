"""The table of error kinds is whole, and no rule about kinds stands outside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsvc.error_kinds import (
    ENDPOINT_KINDS,
    HOST_LIMITS,
    POLICIES,
    REMOTE_KINDS,
    Circuit,
    Fault,
    StatusRange,
    kind_of_remote_status,
    kind_of_status,
)
from syncsvc.types import ErrorKind

PACKAGE = Path(__file__).resolve().parent.parent / "syncsvc"
TABLE = PACKAGE / "error_kinds.py"
VALUES = {kind.value for kind in ErrorKind}


def test_every_kind_has_a_row_in_the_order_of_the_kinds() -> None:
    assert list(POLICIES) == list(ErrorKind)


def narrowest(status: int, column: str) -> ErrorKind:
    """The kind of the narrowest range around the status; no second one is as narrow."""
    around = [
        (len(statuses), kind)
        for kind, policy in POLICIES.items()
        for statuses in getattr(policy, column)
        if statuses.first <= status <= statuses.last
    ]
    width, kind = min(around)
    assert [size for size, _ in around].count(width) == 1
    return kind


@pytest.mark.parametrize("status", range(300, 600))
def test_each_status_leads_to_exactly_one_kind(status: int) -> None:
    assert kind_of_status(status) is narrowest(status, "statuses")
    assert kind_of_remote_status(status) is narrowest(status, "remote_statuses")


@pytest.mark.parametrize("status", [0, 100, 200, 299, 600, 999])
def test_a_remote_s_status_that_means_nothing_is_a_remote_that_is_not_reached(status: int) -> None:
    assert kind_of_remote_status(status) is ErrorKind.GIT_UNREACHABLE


@pytest.mark.parametrize("status", HOST_LIMITS)
def test_a_limit_of_a_host_says_nothing_against_the_repository(status: int) -> None:
    assert not POLICIES[kind_of_remote_status(status)].permanent


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_a_success_leads_to_no_kind(status: int) -> None:
    assert kind_of_status(status) is None


def test_labels_are_short_unique_and_in_sentence_case() -> None:
    labels = [policy.label for policy in POLICIES.values()]
    assert len(set(labels)) == len(labels)
    assert [label for label in labels if len(label) > 40 or not label[0].isupper() or label.endswith(".")] == []


def test_advice_is_one_sentence() -> None:
    assert [
        policy.advice for policy in POLICIES.values() if policy.advice.count(". ") or policy.advice[-1] != "."
    ] == []


@pytest.mark.parametrize("kind", ErrorKind)
def test_the_columns_of_a_row_agree(kind: ErrorKind) -> None:
    policy = POLICIES[kind]
    endpoint, remote = kind.value.startswith("endpoint_"), kind.value.startswith(("git_", "repository_"))
    assert (policy.fault is Fault.ENDPOINT, policy.fault is Fault.REMOTE) == (endpoint, remote)
    assert (kind in ENDPOINT_KINDS, kind in REMOTE_KINDS) == (endpoint, remote)
    assert remote or not policy.remote_statuses
    assert endpoint or not (policy.statuses or policy.resent_in_run or policy.pauses_app)
    assert endpoint or not policy.stops_run or kind is ErrorKind.EGRESS_PROXY, "the way to every endpoint"
    assert policy.retries_itself or policy.permanent
    assert not (policy.resent_in_run and policy.stops_run)
    assert not (policy.told_to_app and endpoint), "an endpoint that fails is not told by a request to it"
    assert set(policy.circuit_statuses) <= {status for statuses in policy.statuses for status in statuses}


def test_a_range_has_both_its_ends() -> None:
    assert list(StatusRange(408, 410)) == [408, 409, 410]
    assert list(StatusRange.only(503)) == [503]


def test_a_throttled_request_counts_for_the_circuit_by_its_status() -> None:
    policy = POLICIES[ErrorKind.ENDPOINT_THROTTLED]
    assert policy.counts_for(Circuit.ENDPOINT, 503)
    assert not policy.counts_for(Circuit.ENDPOINT, 429)
    assert not policy.counts_for(Circuit.REMOTE, 503)


def test_every_failure_of_a_remote_counts_for_its_circuit() -> None:
    assert all(POLICIES[kind].counts_for(Circuit.REMOTE) for kind in REMOTE_KINDS)


def named(node: ast.AST) -> bool:
    """`ErrorKind.X`, its value, or a comparison with it."""
    match node:
        case ast.Attribute(value=ast.Name(id="ErrorKind")):
            return True
        case ast.Constant(value=str(text)):
            return text in VALUES
        case ast.Attribute(value=inner, attr="value"):
            return named(inner)
        case ast.Compare(comparators=[other]):
            return named(other)
    return False


def sets_of_kinds(source: str) -> Iterator[int]:
    """Lines on which two or more kinds are named together.

    As a set, tuple or list, a chain of `or`, in SQL, or by how they begin.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Set(elts=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.BoolOp(values=parts):
                if sum(map(named, parts)) > 1:
                    yield node.lineno
            case ast.MatchOr(patterns=patterns):
                if sum(isinstance(part, ast.MatchValue) and named(part.value) for part in patterns) > 1:
                    yield node.lineno
            case ast.Constant(value=str(text)):
                for line in text.splitlines():
                    if sum(f"'{value}'" in line for value in VALUES) > 1:
                        yield node.lineno
                if text.endswith("_") and sum(value.startswith(text) for value in VALUES) > 1:
                    yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "frozenset({ErrorKind.GIT_AUTH, ErrorKind.INTERNAL})",
        "kind in (ErrorKind.GIT_AUTH, ErrorKind.INTERNAL)",
        "kind is ErrorKind.GIT_AUTH or kind is ErrorKind.INTERNAL",
        "['git_auth', 'internal']",
        "[ErrorKind.GIT_AUTH.value, ErrorKind.INTERNAL.value]",
        '''SQL = "error_kind IN ('git_auth', 'internal')"''',
        "rows.filter(error_kind__startswith='git_')",
        "kind.startswith('endpoint_')",
        "match kind:\n  case ErrorKind.GIT_AUTH | ErrorKind.INTERNAL: pass",
    ],
)
def test_a_set_of_kinds_is_seen(source: str) -> None:
    assert len(list(sets_of_kinds(source))) == 1


def test_no_set_of_kinds_is_spelled_outside_the_table() -> None:
    sources = [file for file in PACKAGE.rglob("*.py") if "migrations" not in file.parts and file != TABLE]
    found = [f"{file.relative_to(PACKAGE)}:{line}" for file in sources for line in sets_of_kinds(file.read_text())]
    assert found == []
