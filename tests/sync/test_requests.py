"""Requests over kept-alive connections: each that arrives is in the log, and a probe has its own connection."""

import socket

from django.db.models.functions import Now

from syncsvc.models import App, DeliveryAttempt, SyncRun
from syncsvc.sync.recorder import FEW
from tests.receiver import OK, Misbehaviour, Receiver, Reply
from tests.sync.world import World


def close(connection: socket.socket) -> None:
    """Nothing: the connection is closed without an answer."""


def dying(*, every: int) -> Receiver:
    """Reads each request, and ends some connections instead of an answer."""
    count = 0

    def answer(_headers: dict[str, str], _body: bytes) -> Reply | Misbehaviour:
        nonlocal count
        count += 1
        return close if count % every == 0 else OK

    return Receiver(answer)


def test_what_libcurl_sends_again_is_in_the_log_of_a_long_run(world: World) -> None:
    App.objects.update(max_in_flight=4)
    world.repo.commit({f"{number:03}": b"1" for number in range(10 * FEW)})
    with dying(every=5) as receiver:
        App.objects.update(url=receiver.url)
        run = world.run()
    assert len(receiver.requests) > 10 * FEW
    assert DeliveryAttempt.objects.count() == run.requests == len(receiver.requests)
    told = DeliveryAttempt.objects.filter(error__contains="sent again").count()
    assert told > 0
    lost = DeliveryAttempt.objects.filter(status=None)
    assert set(lost.values_list("error_kind", flat=True)) == {"endpoint_unreachable"}


def test_what_libcurl_sends_again_is_in_the_log_of_a_small_run_over_a_kept_connection(world: World) -> None:
    with dying(every=2) as receiver:
        App.objects.update(url=receiver.url)
        for version in range(4):
            world.repo.commit({"a": b"%d" % version})
            assert world.run().outcome == "synced"
    assert DeliveryAttempt.objects.count() == len(receiver.requests) > 4
    assert sum(SyncRun.objects.values_list("requests", flat=True)) == len(receiver.requests)


def test_the_probe_of_a_run_takes_a_connection_of_its_own(world: World) -> None:
    """The endpoint's name leads elsewhere by now: a kept-alive connection would try the host that was left."""
    world.repo.commit({"a": b"1"})
    world.run()
    world.receiver.stop_listening()
    with Receiver(port=world.receiver.port) as moved:
        App.objects.update(circuit_opened_at=Now(), circuit_until=Now(), circuit_openings=1)
        world.repo.commit({"a": b"2"})
        assert world.run().outcome == "synced"
    assert (len(world.receiver.requests), len(moved.requests)) == (1, 1)
    assert App.objects.get().circuit_opened_at is None
