"""What is past its retention goes, in batches; nothing else does."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import AuditEntry, DeliveryAttempt, Operation, RemoteHost, SyncRun
from syncsvc.sync import retention
from syncsvc.sync.retention import delete_expired
from tests.factories import (
    DeliveryAttemptFactory,
    OperationFactory,
    OperationItemFactory,
    RemoteHostFactory,
    RepositoryFactory,
    SyncRunFactory,
)
from tests.sync.rows import copy_rows

pytestmark = pytest.mark.django_db

NOTHING = {"attempts": 0, "runs": 0, "items": 0, "operations": 0, "hosts": 0, "audit": 0}


def days_ago(days: float) -> dict[str, object]:
    return {"at": timezone.now() - timedelta(days=days)}


def run_of(days: float, **values: object) -> SyncRun:
    at = timezone.now() - timedelta(days=days)
    run: SyncRun = SyncRunFactory(started_at=at, **values)
    return run


def test_attempts_go_after_14_days_and_runs_after_90() -> None:
    young, old, older = run_of(13), run_of(89), run_of(91)
    kept = DeliveryAttemptFactory(run=young, **days_ago(13.9))
    DeliveryAttemptFactory(run=old, **days_ago(14.1))

    assert delete_expired() == NOTHING | {"attempts": 1, "runs": 1}

    assert list(DeliveryAttempt.objects.all()) == [kept]
    assert set(SyncRun.objects.all()) == {young, old}
    assert not SyncRun.objects.filter(id=older.id).exists()


def test_ended_operations_go_with_their_items_after_90_days_though_a_younger_one_retries_what_failed_in_one() -> None:
    ended, young = timezone.now() - timedelta(days=91), timezone.now() - timedelta(days=89)
    old = OperationFactory(status="finished", waiting=0, failed=3, finished_at=ended)
    OperationItemFactory(operation=old, status="failed")
    kept = [
        OperationFactory(status="finished", waiting=0, failed=3, finished_at=young, retries=old),
        OperationFactory(),
    ]
    OperationItemFactory(operation=kept[0])

    assert delete_expired() == NOTHING | {"items": 1, "operations": 1}

    assert set(Operation.objects.all()) == set(kept)
    assert Operation.objects.get(id=kept[0].id).retries is None


def test_a_host_goes_when_its_last_repository_has_moved_or_is_deleted() -> None:
    kept = RemoteHostFactory()
    RemoteHostFactory()
    RepositoryFactory(url=f"https://{kept.name}/a/b")

    assert delete_expired() == NOTHING | {"hosts": 1}

    assert list(RemoteHost.objects.all()) == [kept]


def test_how_long_is_a_setting(settings: Settings) -> None:
    settings.ATTEMPT_RETENTION_DAYS, settings.RUN_RETENTION_DAYS = 1, 2
    run = run_of(1.5)
    DeliveryAttemptFactory(run=run, **days_ago(1.1))
    run_of(2.1)

    assert delete_expired() == NOTHING | {"attempts": 1, "runs": 1}
    assert SyncRun.objects.get() == run


def test_a_run_that_has_not_ended_stays_however_old_it_is() -> None:
    run = run_of(200, running=True, finished_at=None)

    assert delete_expired()["runs"] == 0
    assert SyncRun.objects.get() == run


def test_no_attempt_outlives_its_run_however_the_two_are_set(settings: Settings) -> None:
    settings.ATTEMPT_RETENTION_DAYS, settings.RUN_RETENTION_DAYS = 90, 14
    attempt = DeliveryAttemptFactory(run=run_of(15), **days_ago(15))

    assert delete_expired() == NOTHING
    DeliveryAttempt.objects.filter(id=attempt.id).update(**days_ago(91))
    assert delete_expired() == NOTHING | {"attempts": 1, "runs": 1}


def test_more_than_a_batch_goes_as_well() -> None:
    DeliveryAttemptFactory(run=run_of(1), **days_ago(20))
    copy_rows(DeliveryAttempt, retention.BATCH * 2, id="original.id + n")

    assert delete_expired()["attempts"] == retention.BATCH * 2 + 1


def test_an_audit_entry_goes_a_year_after_its_last_time() -> None:
    old, lately = (timezone.now() - timedelta(days=days) for days in (366, 1))
    AuditEntry.objects.create(action="changed", source="console", at=old, last_at=old)
    kept = AuditEntry.objects.create(action="token_used", source="api", at=old, last_at=lately)

    assert delete_expired() == NOTHING | {"audit": 1}

    assert list(AuditEntry.objects.all()) == [kept]
