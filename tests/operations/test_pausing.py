"""Pausing and resuming: one function for each kind of row, one or many."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, Repository, Status, Subscription
from syncsvc.models.pausing import set_active
from syncsvc.operations.asker import Asker
from syncsvc.operations.pausing import pause, resume
from tests import factories
from tests.factories import deeds
from tests.operations.fleet import ASKER, in_threads

FACTORIES: dict[Any, Any] = {
    App: factories.AppFactory,
    Repository: factories.RepositoryFactory,
    Subscription: factories.SubscriptionFactory,
}


@pytest.mark.django_db
@pytest.mark.parametrize("model", FACTORIES)
def test_only_what_changes_is_changed_logged_and_given_back(model: Any) -> None:
    one, two, paused = FACTORIES[model](), FACTORIES[model](), FACTORIES[model](is_active=False)
    other = FACTORIES[model]()
    asker = Asker(name="ann", source=Operation.Source.CONSOLE, user=factories.UserFactory())
    rows = model.objects.filter(pk__in=[one.pk, two.pk, paused.pk])

    assert {row.pk for row in pause(rows, asker)} == {one.pk, two.pk}
    assert pause(rows, asker) == []
    assert {row.pk for row in model.objects.filter(is_active=True)} == {other.pk}
    assert {row.pk for row in resume(rows, asker)} == {one.pk, two.pk, paused.pk}

    said = [(entry.text, entry.object_id) for entry in deeds().all()]
    assert sorted(said) == sorted(
        [("Paused.", str(row.pk)) for row in (one, two)] + [("Resumed.", str(row.pk)) for row in (one, two, paused)]
    )


@pytest.mark.django_db
def test_more_than_was_shown_is_a_conflict_and_changes_nothing() -> None:
    factories.AppFactory.create_batch(3)
    with pytest.raises(Refused) as refusal:
        pause(App.objects.all(), ASKER, at_most=2)
    assert refusal.value.kind == "conflict"
    assert App.objects.filter(is_active=True).count() == 3


@pytest.mark.django_db
def test_an_app_s_reason_goes_with_its_pause() -> None:
    app = factories.AppFactory()
    rows = App.objects.filter(pk=app.pk)
    assert set_active(rows, is_active=False, reason="It answered 410.") == 1
    assert set_active(rows, is_active=False, reason="Another reason.") == 0
    app.refresh_from_db()
    assert (app.is_active, app.pause_reason) == (False, "It answered 410.")
    resume(rows, ASKER)
    pause(rows, ASKER)
    app.refresh_from_db()
    assert (app.is_active, app.pause_reason) == (False, "")


def waits(app: App, kind: str, **values: Any) -> Subscription:
    """Failed, with a slow try in an hour."""
    values = {"status": Status.FAILED, "error_kind": kind, "due_at": timezone.now() + timedelta(hours=1), **values}
    return factories.SubscriptionFactory(app=app, **values)


def is_due(row: Subscription) -> bool:
    row.refresh_from_db()
    return row.due_at is not None and row.due_at <= timezone.now()


@pytest.mark.django_db
def test_resuming_an_app_makes_due_what_met_the_410() -> None:
    app, other = factories.AppFactory(is_active=False), factories.AppFactory(is_active=False)
    gone = [waits(app, "endpoint_gone"), waits(app, "endpoint_gone", due_at=None)]
    rest = [waits(app, "endpoint_rejected"), waits(other, "endpoint_gone")]

    resume(App.objects.filter(pk=app.pk), ASKER)

    assert all(is_due(row) for row in gone)
    assert not any(is_due(row) for row in rest)
    assert {row.status for row in gone} == {Status.FAILED}
    assert set(Subscription.objects.due()) == set(gone)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_pauses() -> None:
    app = factories.AppFactory()
    asker = Asker(name="ann", source=Operation.Source.API, user=factories.UserFactory())
    changed = in_threads(lambda _: len(pause(App.objects.filter(pk=app.pk), asker)), 8)
    assert sum(changed) == 1
    assert deeds().count() == 1
