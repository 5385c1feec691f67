"""Runs through EGRESS_PROXY."""

from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from syncsvc.models import App, Operation, Repository, Status, Subscription
from syncsvc.operations.asker import Asker
from syncsvc.operations.testing import send_test
from tests.egress.proxy import ProxyServer
from tests.git.servers import GitHttpServer
from tests.sync.answers import always
from tests.sync.world import World

FILES = {f"f{number}": b"content" for number in range(50)}


@pytest.fixture
def proxy(settings: Settings) -> Any:
    with ProxyServer() as server:
        settings.EGRESS_PROXY = server.url
        yield server


def subscription() -> Subscription:
    return Subscription.objects.get()


def test_a_run_sends_through_the_proxy(world: World, proxy: ProxyServer) -> None:
    world.repo.commit(FILES)
    run = world.run()
    assert run.outcome == "synced"
    assert set(proxy.targets) == {f"127.0.0.1:{world.receiver.port}"}
    assert world.receiver.requests


def test_a_proxy_that_fails_stops_the_run_and_is_not_the_endpoints_failure(world: World, proxy: ProxyServer) -> None:
    world.repo.commit(FILES)
    proxy.answer = b"HTTP/1.1 405 No\r\n\r\n"
    for number in range(7):
        run = world.run()
        assert (run.outcome, run.error_kind) == ("postponed" if number < 5 else "failed", "egress_proxy")
        assert run.requests <= App.objects.get().max_in_flight
        assert "egress proxy" in run.error
    assert world.receiver.requests == []
    app = App.objects.get()
    assert (app.failure_streak, app.circuit_opened_at) == (0, None)
    proxy.answer = None
    assert world.run().outcome == "synced"


def test_a_proxy_that_fails_says_nothing_of_an_endpoint_whose_circuit_is_open(
    world: World, proxy: ProxyServer, settings: Settings
) -> None:
    world.repo.commit(FILES)
    settings.EGRESS_PROXY = ""
    App.objects.update(max_in_flight=1)
    world.receiver.answer = always(500)
    assert world.run().error_kind == "endpoint_error"
    assert App.objects.get().circuit_opened_at is not None
    settings.EGRESS_PROXY = proxy.url
    proxy.answer = b""
    world.repo.commit({"new": b"1"})  # the probe: a message that is not known to be bad
    App.objects.update(circuit_until=Now())
    assert world.run().error_kind == "egress_proxy"
    assert App.objects.get().circuit_opened_at is not None


def test_a_destination_that_the_proxy_refuses_fails_at_once(world: World, proxy: ProxyServer) -> None:
    world.repo.commit(FILES)
    proxy.answer = b"HTTP/1.1 407 Request rejected by proxy\r\n\r\n"
    run = world.run()
    assert (run.outcome, run.error_kind) == ("failed", "endpoint_forbidden_address")
    assert subscription().status == Status.FAILED


def test_a_test_message_goes_through_the_proxy(world: World, proxy: ProxyServer) -> None:
    world.repo.commit(FILES)
    tested = send_test(App.objects.get().pk, Asker(name="a test", source=Operation.Source.COMMAND))
    assert tested.succeeded
    assert proxy.targets == [f"127.0.0.1:{world.receiver.port}"]


def test_a_proxy_that_fails_is_not_the_remotes_failure_either(
    world: World, proxy: ProxyServer, settings: Settings
) -> None:
    world.repo.commit(FILES)
    server = GitHttpServer(world.repo.path.parent)
    Repository.objects.update(url=server.url(world.repo.path.name))
    proxy.answer = b"HTTP/1.1 429 Too Many\r\nX-Squid-Error: ERR_TOO_BIG 0\r\n\r\n"
    for _ in range(6):
        assert world.run().error_kind == "egress_proxy"
    repository = Repository.objects.get()
    assert (repository.failure_streak, repository.circuit_until) == (0, None)
    assert server.discoveries == 0
    proxy.answer = None
    assert world.run().outcome == "synced"
    assert {each.method for each in proxy.asked} == {"GET", "POST", "CONNECT"}
    server.close()
