"""Statements reach PostgreSQL as they are written, whatever their length, and come back as models."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from syncsvc.models import App, Status, Subscription, Trigger
from syncsvc.models.run import runs_at
from syncsvc.models.status import (
    ACTIVE,
    ACTIVE_SQL,
    AWAITS_FIRST_COMMIT,
    AWAITS_FIRST_COMMIT_SQL,
    FAILING,
    FAILING_SQL,
    HELD,
    HELD_SQL,
    QUEUED_SQL,
    RETRYING,
    RETRYING_SQL,
    THROTTLE_LASTS_UNTIL_SQL,
    THROTTLED,
    THROTTLED_SQL,
    queued,
)
from syncsvc.models.subscription import DOUBTFUL
from syncsvc.store.conditions import IS_DOUBTFUL
from syncsvc.store.statements import columns_of, fetch_all, fetch_one, numbered, row_of
from syncsvc.types import ErrorKind
from tests.factories import AppFactory, SnapshotFactory, SubscriptionFactory
from tests.outages import throttle

pytestmark = pytest.mark.django_db


def test_names_become_numbers() -> None:
    assert numbered("SELECT %(a)s, %(b)s, %(a)s, 7 %% 4") == ("SELECT $1, $2, $1, 7 % 4", ("a", "b"))


def test_length_and_comments_cost_nothing() -> None:
    comment = "-- a comment, with %% and 'quotes'\n" * 500
    row = fetch_one(f"{comment}SELECT %(word)s::text, 7 %% 4", {"word": "here", "unused": 1})
    assert row == ("here", 3)


def test_a_statement_is_prepared_once_a_connection() -> None:
    for number in range(3):
        assert fetch_all("SELECT %(number)s::int AS of_this_test", {"number": number}) == [(number,)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%of_this_test%'")
        assert cursor.fetchone() == (1,)


def test_statements_are_logged_like_the_orm_s() -> None:
    with CaptureQueriesContext(connection) as queries:
        fetch_one("SELECT %(word)s::text", {"word": "here"})
    assert len(queries) == 1
    assert "here" in queries[0]["sql"]


def test_a_row_comes_back_as_the_orm_gives_it() -> None:
    app = AppFactory()
    row = fetch_one(f"SELECT {columns_of(App, 'a')} FROM syncsvc_app a WHERE id = %(id)s", {"id": app.id})  # noqa: S608
    assert row is not None
    found, expected = row_of(App, row), App.objects.get(id=app.id)
    assert found.secret.reveal() == expected.secret.reveal()
    for field in App._meta.concrete_fields:
        if field.name != "secret":
            assert getattr(found, field.attname) == getattr(expected, field.attname), field.attname


def in_status(status: Status) -> dict[str, Any]:
    """What a row of that status must have, and what it must not."""
    if status == Status.SYNCING:
        return {"due_at": None, "lease_token": uuid.uuid4(), "lease_expires_at": timezone.now() + timedelta(minutes=1)}
    return {"due_at": None} if status == Status.SYNCED else {}


@pytest.mark.parametrize("kind", ["", *ErrorKind])
@pytest.mark.parametrize("status", Status)
def test_retrying_and_failing_mean_one_thing_in_the_orm_in_sql_and_on_a_row(status: Status, kind: str) -> None:
    row = SubscriptionFactory(status=status, error_kind=kind, **in_status(status))
    with connection.cursor() as cursor:
        sql = f"SELECT {RETRYING_SQL}, {FAILING_SQL} FROM syncsvc_subscription s WHERE id = %s"  # noqa: S608
        cursor.execute(sql, [row.id])
        in_sql = cursor.fetchone()
    found = Subscription.objects.filter(id=row.id)

    assert in_sql == (row.is_retrying, row.is_retrying or status == Status.FAILED)
    assert in_sql == (found.filter(RETRYING).exists(), found.filter(FAILING).exists())


@pytest.mark.parametrize("app_is_throttled", [True, False])
@pytest.mark.parametrize("kind", ["", "endpoint_throttled", "endpoint_error"])
@pytest.mark.parametrize("status", Status)
def test_throttled_means_one_thing_in_the_orm_in_sql_and_on_a_row(
    status: Status, kind: str, app_is_throttled: bool
) -> None:
    row = SubscriptionFactory(status=status, error_kind=kind, **in_status(status))
    if app_is_throttled:
        throttle(row.app_id)
    with connection.cursor() as cursor:
        tables = "syncsvc_subscription s JOIN syncsvc_app a ON a.id = s.app_id"
        cursor.execute(f"SELECT {THROTTLED_SQL}, {RETRYING_SQL} FROM {tables} WHERE s.id = %s", [row.id])  # noqa: S608
        in_sql = cursor.fetchone()
    found = Subscription.objects.filter(id=row.id)

    read = found.select_related("app").get()
    expected = status == Status.PENDING and (kind == "endpoint_throttled" or (kind == "" and app_is_throttled))
    assert (in_sql[0], read.is_throttled, found.filter(THROTTLED).exists()) == (expected, expected, expected)
    assert not (expected and (in_sql[1] or read.is_retrying)), "nothing is both"


TABLES = """syncsvc_subscription s
  JOIN syncsvc_app a ON a.id = s.app_id JOIN syncsvc_repository r ON r.id = s.repository_id"""
NOW = timezone.now()
CONDITIONS = {"held": (HELD, HELD_SQL), "active": (ACTIVE, ACTIVE_SQL), "doubtful": (DOUBTFUL, IS_DOUBTFUL)}
ROWS: list[tuple[str, dict[str, object], bool]] = [
    ("held", {"status": Status.FAILED, "error_kind": "mass_delete_held"}, True),
    ("held", {"status": Status.FAILED, "error_kind": "git_auth"}, False),
    ("held", {"status": Status.PENDING, "error_kind": "mass_delete_held"}, False),
    ("active", {}, True),
    ("active", {"is_active": False}, False),
    ("active", {"app__is_active": False}, False),
    ("active", {"repository__is_active": False}, False),
    ("doubtful", {"repository__checked_at": NOW}, False),
    ("doubtful", {}, True),
    ("doubtful", {"repository__checked_at": NOW, "repository__failure_streak": 1}, True),
    ("doubtful", {"repository__checked_at": NOW, "app__failure_streak": 1}, True),
]


@pytest.mark.parametrize(("name", "values", "expected"), ROWS)
def test_a_condition_means_one_thing_in_the_orm_and_in_sql(
    name: str, values: dict[str, object], expected: bool
) -> None:
    row, (condition, sql) = SubscriptionFactory(**values), CONDITIONS[name]
    assert Subscription.objects.filter(condition, id=row.id).exists() is expected
    assert fetch_one(f"SELECT {sql} FROM {TABLES} WHERE s.id = %(id)s", {"id": row.id}) == (expected,)  # noqa: S608
    assert name != "held" or row.is_held is expected
    assert name != "active" or row.paused is not expected


@pytest.mark.parametrize(("seconds", "expected"), [(None, None), (0, True), (3600, False)])
def test_queued_means_one_thing_in_the_orm_and_in_sql(seconds: int | None, expected: bool | None) -> None:
    """A wake-up that was sent long ago counts as lost."""
    sent = None if seconds is None else timezone.now() - timedelta(seconds=seconds)
    row = SubscriptionFactory(queued_at=sent)
    values = {"id": row.id, "requeue": settings.REQUEUE_AFTER}
    assert Subscription.objects.filter(queued(), id=row.id).exists() is bool(expected)
    assert fetch_one(f"SELECT {QUEUED_SQL} FROM {TABLES} WHERE s.id = %(id)s", values) == (expected,)  # noqa: S608


@pytest.mark.parametrize("probe", [None, -60, 3600])
@pytest.mark.parametrize("until", [None, -60, 60])
def test_the_end_of_a_throttle_is_one_thing_in_sql_and_on_a_row(until: int | None, probe: int | None) -> None:
    """A run that goes first lasts until its probe is over."""
    ends = [None if seconds is None else NOW + timedelta(seconds=seconds) for seconds in (until, probe)]
    app = AppFactory()
    App.objects.filter(id=app.id).update(
        throttled_until=ends[0], throttled_at=ends[0], throttled_since=ends[0], probe_until=ends[1]
    )
    app.refresh_from_db()
    sql = f"SELECT {THROTTLE_LASTS_UNTIL_SQL} FROM syncsvc_app a WHERE a.id = %(id)s"  # noqa: S608
    assert fetch_one(sql, {"id": app.id}) == (app.throttle_lasts_until,)


def test_a_single_retry_does_not_wait_for_the_end_of_a_throttle() -> None:
    later = NOW + timedelta(minutes=5)
    assert runs_at(NOW, Trigger.POLL, later) == later
    assert runs_at(NOW, Trigger.RETRY, later) == NOW
    assert runs_at(None, Trigger.POLL, later) is None
    assert runs_at(later, Trigger.POLL, NOW) == later


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED, Status.SYNCED])
@pytest.mark.parametrize(("snapshot", "clean_epoch"), [(True, 1), (False, 1), (False, 0)])
def test_waiting_for_a_first_commit_means_one_thing_in_the_orm_in_sql_and_on_a_row(
    status: Status, snapshot: bool, clean_epoch: int
) -> None:
    due = {"due_at": None} if status == Status.SYNCED else {}
    taken_in = SnapshotFactory() if snapshot else None
    row = SubscriptionFactory(status=status, snapshot=taken_in, clean_epoch=clean_epoch, **due)
    with connection.cursor() as cursor:
        sql = f"SELECT {AWAITS_FIRST_COMMIT_SQL} FROM syncsvc_subscription s WHERE id = %s"  # noqa: S608
        cursor.execute(sql, [row.id])
        in_sql = cursor.fetchone()[0]
    expected = status == Status.SYNCED and not snapshot and clean_epoch == 1
    found = Subscription.objects.filter(AWAITS_FIRST_COMMIT, id=row.id).exists()
    assert (in_sql, row.awaits_first_commit, found) == (expected, expected, expected)
