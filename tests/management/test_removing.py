"""app_delete, repository_delete, unsubscribe: they say what goes, ask, and take it."""

import pytest
from django.contrib.auth.models import User

from syncsvc.models import App, DeliveredFile, DeliveryAttempt, Repository, Snapshot, Subscription, SyncRun
from tests import factories
from tests.factories import deeds
from tests.management.conftest import Run
from tests.management.working import Terminal

CASES = [
    ("app_delete", "client", App, {"subscriptions": 1}),
    ("repository_delete", "owner/repo", Repository, {"subscriptions": 1, "snapshots": 1}),
    ("unsubscribe", "client/owner/repo", Subscription, {}),
]
HANGING = {"delivered_files": 3, "delivery_attempts": 1, "sync_runs": 1}


@pytest.fixture
def row(transactional_db: None) -> Subscription:
    row: Subscription = factories.SubscriptionFactory.create(app__name="client", repository__name="owner/repo")
    factories.DeliveredFileFactory.create_batch(3, subscription=row)
    factories.DeliveryAttemptFactory.create(run__subscription=row)
    factories.SnapshotFactory.create(repository=row.repository)
    factories.OperationItemFactory.create(subscription=row)
    factories.DeliveryAttemptFactory.create()
    return row


@pytest.mark.parametrize(("command", "name", "model", "goes"), CASES)
def test_it_goes_with_all_that_hangs_on_it(
    run: Run, row: Subscription, command: str, name: str, model: type, goes: dict[str, int]
) -> None:
    done = run(command, name, "--yes", "--json")
    owner = {App: row.app, Repository: row.repository, Subscription: row}[model]
    assert (done.code, done.json) == (0, {"id": str(owner.pk), "name": name, "with_it": {**goes, **HANGING}})
    assert not model.objects.filter(pk=owner.pk).exists()  # type: ignore[attr-defined]
    assert not DeliveredFile.objects.exists()
    assert Subscription.objects.count() == DeliveryAttempt.objects.count() == SyncRun.objects.count() == 1
    assert Snapshot.objects.count() == (0 if model is Repository else 1)
    assert run(command, name, "--yes", "--json").refusal == "not_found"


@pytest.mark.parametrize(("command", "name", "model", "goes"), CASES)
def test_without_a_terminal_nothing_goes_unless_yes_and_the_refusal_says_what_would(
    run: Run, row: Subscription, command: str, name: str, model: type, goes: dict[str, int]
) -> None:
    refused = run(command, name, "--json")
    assert refused.refusal == "confirm"
    said = refused.json["error"]["message"]
    assert f"{name}? With it go: " in said
    assert "3 delivered files, 1 delivery attempt, 1 sync run." in said
    assert ("1 subscription," in said) == (model is not Subscription)
    assert "--yes" in said
    assert Subscription.objects.count() == 2


def test_a_person_at_a_terminal_is_asked(run: Run, row: Subscription) -> None:
    with Terminal() as terminal:
        terminal.type("", after=0.2)
        assert run("unsubscribe", "client/owner/repo").code == 2
    assert "3 delivered files" in terminal.seen
    with Terminal() as terminal:
        terminal.type("yes", after=0.2)
        done = run("unsubscribe", "client/owner/repo")
    assert done.out.startswith("client/owner/repo deleted, with 3 delivered files")
    assert Subscription.objects.count() == 1


def test_what_has_nothing_goes_alone(run: Run) -> None:
    factories.AppFactory.create(name="client")
    assert run("app_delete", "client", "--yes").out == "client deleted\n"


def test_a_user_s_delete_is_in_the_log(run: Run, row: Subscription) -> None:
    User.objects.create_user("ann")
    run("app_delete", row.app_id, "--yes", "--as", "ann")
    entry = deeds().get()
    assert (entry.action, entry.object_name) == ("deleted", "client")
