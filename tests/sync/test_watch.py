"""What is changed while a run goes on counts at once: pause, stop, URL, secrets, limits."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from standardwebhooks import Webhook, WebhookVerificationError

from syncsvc.delivery.signing import new_secret
from syncsvc.models import App, DeliveryAttempt, Operation, Repository, Status, Subscription, SyncRun
from syncsvc.models.fields import Sealed
from syncsvc.operations.apps import save_app
from syncsvc.operations.asker import Asker
from syncsvc.sync.watch import WATCHER
from tests.factories import OperationFactory, OperationItemFactory
from tests.receiver import OK, Receiver, Reply
from tests.sync.world import World, contents

FILES = 60
ASKER = Asker(name="a test", source=Operation.Source.COMMAND)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.02)


class Slow:
    """Answers slowly; calls `then` once, when the tenth request arrives, and has the run look at what that changed."""

    def __init__(self, world: World, then: Callable[[], Any]) -> None:
        self._world, self._then, self._lock = world, then, threading.Lock()
        self.count = 0
        world.receiver.answer = self
        App.objects.update(max_in_flight=2)
        world.repo.commit({f"{n:02}": b"1" for n in range(FILES)})

    def __call__(self, headers: dict[str, str], body: bytes) -> Reply:
        with self._lock:
            self.count += 1
            if self.count == 10:
                self._then()
                WATCHER.look()
                connection.close()
        self._world.receiver.stopping.wait(0.05)
        return OK


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize(
    "pause",
    [
        lambda: App.objects.update(is_active=False),
        lambda: Repository.objects.update(is_active=False),
        lambda: Subscription.objects.update(is_active=False),
    ],
    ids=["app", "repository", "subscription"],
)
def test_a_pause_ends_the_run_and_what_was_acknowledged_stays(world: World, pause: Callable[[], Any]) -> None:
    slow = Slow(world, pause)
    Subscription.objects.update(retry_count=3)

    run = world.run()

    assert run.outcome == "interrupted"
    assert world.subscription.retry_count == 0, "progress begins a new streak of tries"
    assert 10 <= run.delivered < FILES // 2
    assert slow.count == run.requests
    assert sum(not row.in_doubt for row in world.ledger().values()) == run.delivered
    for model in (App, Repository, Subscription):
        model.objects.update(is_active=True)

    again = world.run_when_due()

    assert again is not None
    assert (again.outcome, again.delivered) == ("synced", FILES - run.delivered)


def test_a_stop_ends_the_run_until_the_next_change_and_cancels_its_item(world: World) -> None:
    Slow(world, lambda: Subscription.objects.filter(status=Status.SYNCING).request_stop())
    operation = OperationFactory(total=1, waiting=1)
    OperationItemFactory(
        operation=operation, subscription=world.subscription, released_at="2026-01-01T00:00Z", app_id=world.app.id
    )

    run = world.run()

    assert run.outcome == "stopped"
    assert 10 <= run.delivered < FILES // 2
    row = world.subscription
    assert (row.status, row.stop_requested_at) == (Status.PENDING, None)
    assert row.due_at is not None
    operation.refresh_from_db()
    assert (operation.cancelled, operation.files, operation.status) == (1, run.delivered, "finished")
    world.receiver.answer = lambda headers, body: OK
    assert world.run().outcome == "synced", "somebody asked for it"


def test_a_new_secret_signs_the_rest_of_the_run(world: World) -> None:
    old, new = new_secret(), new_secret()
    App.objects.update(secret=Sealed.seal(old))
    Slow(world, lambda: App.objects.update(secret=Sealed.seal(new)))

    assert world.run().outcome == "synced"

    def signed_with(secret: str, request: Any) -> bool:
        try:
            Webhook(secret).verify(request.body, request.headers)
        except WebhookVerificationError:
            return False
        return True

    by_new = [signed_with(new, request) for request in world.receiver.requests]
    by_old = [signed_with(old, request) for request in world.receiver.requests]
    assert all(one or other for one, other in zip(by_new, by_old, strict=True))
    assert by_old[0]
    assert by_new[-1]
    assert sum(by_old) < FILES // 2


def test_a_new_url_gets_what_the_old_one_has_not_acknowledged(world: World, elsewhere: Receiver) -> None:
    slow = Slow(world, lambda: App.objects.update(url=elsewhere.url))

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", FILES)
    assert slow.count < FILES // 2
    assert slow.count + len(elsewhere.requests) >= FILES
    row = world.subscription
    assert 0 < row.old_url_files <= slow.count
    assert DeliveryAttempt.objects.count() == run.requests == slow.count + len(elsewhere.requests), "the aborted too"
    assert row.old_url_files + len(elsewhere.requests) == FILES
    assert world.ledger().keys() == contents(world.repo).keys()


@pytest.mark.parametrize("files", [1, 3, 30])
def test_files_that_the_url_before_took_last_are_noted_although_the_run_saw_no_change(
    world: World, elsewhere: Receiver, files: int
) -> None:
    """The app moves while the last requests of a run are on their way."""
    world.repo.commit({f"{n:02}": b"1" for n in range(files)})

    def move(headers: dict[str, str], body: bytes) -> Reply:
        if len(world.receiver.requests) == files:
            app = App.objects.get()
            app.url = elsewhere.url
            save_app(app, ASKER, changed={"url"})
            connection.close()
        return OK

    world.receiver.answer = move
    App.objects.update(max_in_flight=1)

    assert world.run().delivered == files

    assert world.subscription.old_url_files == files - len(elsewhere.requests)


def test_a_smaller_batch_holds_at_once(world: World) -> None:
    App.objects.update(max_batch=2)
    Slow(world, lambda: App.objects.update(max_batch=1))

    assert world.run().outcome == "synced"

    kinds = [event["type"] for event in world.events()]
    assert kinds[0] == "files.batch"
    assert kinds.count("file.created") > FILES // 2


def test_other_limits_hold_for_the_rest_of_the_run(world: World) -> None:
    Slow(world, lambda: App.objects.update(max_in_flight=16))

    assert world.run().outcome == "synced"

    assert world.receiver.connections > 2


def test_a_run_that_is_over_before_the_first_look_is_not_looked_at(world: World) -> None:
    world.repo.commit({"a": b"1"})
    assert world.run().outcome == "synced"
    assert SyncRun.objects.count() == 1
