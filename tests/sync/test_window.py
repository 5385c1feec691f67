"""How many requests are open to an app at once, over all runs of a worker process."""

import threading
import time

import pytest
from django.db import connection

from syncsvc.models import App, SyncRun
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.recorder import FEW
from syncsvc.sync.window import WINDOWS
from tests.factories import RepositoryFactory, SubscriptionFactory
from tests.receiver import OK, Reply
from tests.sync.world import World, contents


class Gauge:
    """A receiver's script that notes how many requests wait for an answer at the same time."""

    def __init__(self, world: World, seconds: float = 0.02) -> None:
        self._world, self._seconds = world, seconds
        self._lock = threading.Lock()
        self._open = self.most = 0
        world.receiver.answer = self

    def __call__(self, headers: dict[str, str], body: bytes) -> Reply:
        with self._lock:
            self._open += 1
            self.most = max(self.most, self._open)
        self._world.receiver.stopping.wait(self._seconds)
        with self._lock:
            self._open -= 1
        return OK


@pytest.mark.parametrize("window", [1, 4])
def test_a_run_keeps_as_many_requests_open_as_the_app_takes(world: World, window: int) -> None:
    App.objects.update(max_in_flight=window)
    world.repo.commit({f"{n}": b"1" for n in range(40)})
    gauge = Gauge(world)

    world.run()

    assert gauge.most == window
    assert world.receiver.connections <= window


def test_the_runs_of_an_app_share_its_window(world: World) -> None:
    App.objects.update(max_in_flight=3)
    world.repo.commit({f"{n}": b"1" for n in range(30)})
    ids = [world.id] + [
        SubscriptionFactory(app=world.app, repository=RepositoryFactory(url=str(world.repo.path))).id for _ in range(2)
    ]
    gauge = Gauge(world)
    ended: list[SyncRun | None] = []

    def work(id: object) -> None:
        ended.append(run_subscription(id, worker="test"))  # type: ignore[arg-type]
        connection.close()

    threads = [threading.Thread(target=work, args=[id]) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [run.outcome for run in ended if run] == ["synced"] * 3
    assert gauge.most == 3
    assert len(world.receiver.requests) == 90
    assert WINDOWS.take(str(world.app.id), limit=1) is not None, "every place was given back"
    WINDOWS.give_back(str(world.app.id))


def test_one_kind_is_over_before_the_next_begins(world: World) -> None:
    world.repo.commit({f"{n}": b"1" for n in range(20)})
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({f"{n}": None for n in range(9)} | {f"{n}": b"2" for n in range(10, 20)} | {"new": b"1"})
    Gauge(world)

    world.run()

    kinds = [kind for kind, _ in world.told(before)]
    assert kinds == sorted(kinds, key=["file.deleted", "file.created", "file.updated"].index)
    assert len(kinds) == 20
    assert world.client().files == contents(world.repo)


def test_a_large_run_leaves_no_connections_open_behind_it(world: World) -> None:
    App.objects.update(max_in_flight=64)
    world.repo.commit({f"{n}": b"1" for n in range(200)})
    Gauge(world)

    world.run()

    assert world.receiver.connections > FEW
    deadline = time.monotonic() + 5
    while world.receiver.open and time.monotonic() < deadline:
        time.sleep(0.02)
    assert world.receiver.open == 0
