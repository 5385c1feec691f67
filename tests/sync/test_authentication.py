"""Headers and certificates of an app's own in runs and pings; none of them is seen anywhere else."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from syncsvc.models import App, DeliveryAttempt, Operation, SyncRun
from syncsvc.models.fields import Sealed
from syncsvc.operations.apps import save_app
from syncsvc.operations.asker import Asker
from syncsvc.operations.testing import send_test
from syncsvc.sync.transports import Transports
from syncsvc.sync.watch import WATCHER
from tests.delivery.authority import Authority
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.receiver import OK, Receiver, Reply
from tests.sync.world import World

ASKER = Asker(name="a test", source=Operation.Source.COMMAND)
TOKEN = "Bearer t0k3n-that-nobody-may-see"
HEADERS = f"Authorization: {TOKEN}\nX-Tenant: acme"


def give(app: App, **columns: Any) -> App:
    for name, value in columns.items():
        setattr(app, name, value)
    app.full_clean()
    app.save()
    return app


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "tls").mkdir()
    return Authority(tmp_path / "tls")


@pytest.fixture
def guarded(authority: Authority) -> Iterator[Receiver]:
    """Takes what comes with a client certificate of the authority."""
    with Receiver(tls=authority.server(clients=authority)) as receiver:
        yield receiver


def test_headers_arrive_exactly_with_each_message_and_each_ping(world: World) -> None:
    give(world.app, headers=HEADERS)
    world.repo.commit({"a.md": b"1\n", "b.md": b"2\n"})

    assert world.run().outcome == "synced"
    assert send_test(world.app.id, ASKER).succeeded

    assert len(world.receiver.requests) == 3
    for request in world.receiver.requests:
        assert (request.headers["authorization"], request.headers["x-tenant"]) == (TOKEN, "acme")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-signature"].startswith("v1,")


def test_the_log_of_attempts_has_the_names_of_headers_and_no_value(world: World) -> None:
    world.repo.commit({"a.md": b"1\n"})
    world.run()
    give(world.app, headers=HEADERS)
    world.repo.commit({"a.md": b"2\n"})
    world.run()

    log = DeliveryAttempt.objects.order_by("id").values_list("header_names", flat=True)
    assert list(log) == [None, "Authorization, X-Tenant"]


def test_headers_go_to_no_other_place_that_the_endpoint_names(world: World) -> None:
    give(world.app, headers=HEADERS)
    world.repo.commit({"a.md": b"1\n"})
    with Receiver() as elsewhere:
        world.receiver.answer = lambda _headers, _body: (307, {"Location": elsewhere.url}, b"", 0)
        assert world.run().outcome == "postponed"
        assert not send_test(world.app.id, ASKER).succeeded
    assert elsewhere.connections == 0


def test_another_app_at_the_same_endpoint_gets_none_of_them(world: World) -> None:
    give(world.app, headers=HEADERS)
    other = AppFactory(name="other", url=world.app.url)
    world.repo.commit({"a.md": b"1\n"})
    follows = SubscriptionFactory(app=other, repository=RepositoryFactory(url=str(world.repo.path)))
    world.run()
    world.id = follows.id
    world.run()
    assert ["authorization" in request.headers for request in world.receiver.requests] == [True, False]


def test_mutual_tls_lets_runs_and_pings_through(world: World, authority: Authority, guarded: Receiver) -> None:
    certificate, key = authority.client()
    trusted = authority.file.read_text()
    give(world.app, url=guarded.url, ca_certificate=trusted, client_certificate=certificate, client_key=key)
    world.repo.commit({"a.md": b"1\n"})

    assert world.run().outcome == "synced"
    assert send_test(world.app.id, ASKER).succeeded
    assert len(guarded.requests) == 2


@pytest.mark.parametrize(
    ("columns", "words"),
    [({}, "certificate"), ({"days": -1}, "client certificate")],
    ids=["no certificate", "one that has ended"],
)
def test_a_run_that_tls_refuses_says_so(
    columns: dict[str, int], words: str, world: World, authority: Authority, guarded: Receiver
) -> None:
    given = dict(zip(("client_certificate", "client_key"), authority.client(**columns), strict=True)) if columns else {}
    give(world.app, url=guarded.url, ca_certificate=authority.file.read_text() if columns else "", **given)
    world.repo.commit({"a.md": b"1\n"})

    run = world.run()

    assert run.outcome == "postponed"
    assert run.error_kind == "endpoint_tls"
    assert words in run.error
    assert guarded.requests == []


def test_connections_of_an_app_with_a_certificate_are_its_own(
    world: World, authority: Authority, guarded: Receiver
) -> None:
    """Between runs, where they are kept: neither another app nor the same one with another certificate gets them."""
    trusted = authority.file.read_text()
    (first, first_key), (second, second_key) = authority.client(), authority.client()
    give(world.app, url=guarded.url, ca_certificate=trusted, client_certificate=first, client_key=first_key)
    bare = AppFactory(name="bare", url=guarded.url, ca_certificate=trusted)
    mine, its = world.app.tls_terms(), bare.tls_terms()
    give(world.app, client_certificate=second, client_key=second_key)
    transports = Transports()
    kept = transports.take(mine)
    transports.give_back(kept)

    others = [transports.take(terms) for terms in (its, None, world.app.tls_terms())]

    assert kept not in others
    assert transports.take(mine) is kept
    for transport in (kept, *others):
        transport.close()


class Slow:
    """Answers slowly; calls `then` once, at the tenth request, and has the run look at what that changed."""

    def __init__(self, receiver: Receiver, then: Callable[[], Any]) -> None:
        self._receiver, self._then, self._lock, self.count = receiver, then, threading.Lock(), 0
        receiver.answer = self

    def __call__(self, headers: dict[str, str], body: bytes) -> Reply:
        with self._lock:
            self.count += 1
            if self.count == 10:
                self._then()
                WATCHER.look()
                connection.close()
        self._receiver.stopping.wait(0.03)
        return OK


def test_headers_that_are_changed_while_a_run_goes_on_count_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.02)
    give(world.app, headers="Authorization: old", max_in_flight=2)
    new = Sealed.seal("Authorization: new")
    Slow(world.receiver, lambda: App.objects.update(headers=new))
    world.repo.commit({f"{n:02}": b"1" for n in range(40)})

    assert world.run().outcome == "synced"

    sent = [request.headers["authorization"] for request in world.receiver.requests]
    assert set(sent[:10]) == {"old"}
    assert set(sent[15:]) == {"new"}
    assert len(sent) == 40


def test_a_certificate_that_is_changed_while_a_run_goes_on_takes_a_new_connection(
    world: World, authority: Authority, guarded: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WATCHER, "pause", 0.02)
    certificate, key = authority.client()
    trusted = authority.file.read_text()
    columns = {"ca_certificate": trusted, "client_certificate": certificate, "client_key": key}
    give(world.app, url=guarded.url, max_in_flight=2, **columns)
    renewed, renewed_key = authority.client()

    def renew() -> None:
        App.objects.update(client_certificate=renewed, client_key=Sealed.seal(renewed_key))

    Slow(guarded, renew)
    world.repo.commit({f"{n:02}": b"1" for n in range(30)})

    assert world.run().outcome == "synced"

    assert len(guarded.requests) == 30
    assert guarded.connections == 4


def test_no_value_and_no_key_is_in_a_log_a_row_or_a_repr(
    world: World, authority: Authority, guarded: Receiver, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    certificate, key = authority.client(days=-1)
    give(world.app, url=guarded.url, headers=HEADERS, client_certificate=certificate, client_key=key)
    world.repo.commit({"a.md": b"1\n"})
    world.run()
    send_test(world.app.id, ASKER)
    app = App.objects.get()

    secrets = [TOKEN, "t0k3n", key.splitlines()[1]]
    seen = caplog.text + "".join(capfd.readouterr())
    seen += repr(app) + repr(app.__dict__) + repr(app.tls_terms()) + repr(app.authentication)
    for model in (App, SyncRun, DeliveryAttempt):
        seen += "".join(repr(row) for row in model.objects.values())
    with connection.cursor() as cursor:
        cursor.execute("SELECT encode(headers, 'escape') || encode(client_key, 'escape') FROM syncsvc_app")
        seen += repr(cursor.fetchall())
    assert [secret for secret in secrets if secret in seen] == []
    assert DeliveryAttempt.objects.exists()


def test_a_new_header_makes_due_what_failed_and_closes_the_circuit(world: World) -> None:
    world.receiver.answer = lambda headers, _body: OK if "authorization" in headers else (401, {}, b"", 0)
    world.repo.commit({"a.md": b"1\n"})
    world.run()
    assert world.subscription.error_kind == "endpoint_rejected"
    app = App.objects.get()
    app.headers = HEADERS

    save_app(app, ASKER, changed=["headers"])

    run = world.run_when_due()
    assert run is not None
    assert run.outcome == "synced"
