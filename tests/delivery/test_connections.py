"""Connections: how long they are kept, when a new one is opened, and what is said of one that dies."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsvc.delivery.transport import Answer, Transport
from syncsvc.types import ErrorKind
from tests.delivery.asking import answers, request, sender
from tests.delivery.authority import Authority
from tests.delivery.http2 import Connection, Http2Receiver
from tests.receiver import Misbehaviour, Receiver, Reply, reset

type AnyReceiver = Receiver | Http2Receiver
SECONDS = 0.4


def answer_late(connection: Connection, stream: int) -> None:
    """So late that another request is always on its way on the connection meanwhile."""
    threading.Timer(0.03, connection.accept, [stream]).start()


def receivers(version: str, folder: Path) -> tuple[Path, Callable[[int], AnyReceiver]]:
    """What to trust, and a maker of receivers on a port, which all are one endpoint's."""
    authority = Authority(folder)
    if version == "HTTP/2":
        return authority.file, lambda port: Http2Receiver(authority.server(), answer_late, port=port)
    return authority.file, lambda port: Receiver(
        lambda _headers, _body: (204, {}, b"", 0.03), tls=authority.server(), port=port
    )


def send_without_pause(transport: Transport, url: str, until: Callable[[], bool], seconds: float = 10) -> list[Answer]:
    """Keeps two requests on their way."""
    deadline = time.monotonic() + seconds
    got: list[Answer] = []
    while not until() and time.monotonic() < deadline:
        while transport.in_flight < 2:
            transport.send(request(url))
        got += transport.wait(0.015)
    while transport.in_flight:
        got += transport.wait(5)
    return got


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_name_that_moves_is_followed_while_a_run_goes_on(version: str, tmp_path: Path) -> None:
    """The old host serves its connections on, as it does behind a name that has moved. Nothing ends them but we."""
    ca_file, make = receivers(version, tmp_path)
    with make(0) as old, sender(ca_file=ca_file, connection_seconds=SECONDS) as transport:
        got = send_without_pause(transport, old.url, lambda: old.handled >= 4)
        old.stop_listening()
        with make(old.port) as new:
            got += send_without_pause(transport, new.url, lambda: new.handled >= 4)
            before = old.handled
            got += send_without_pause(transport, new.url, lambda: new.handled >= 12)
            assert new.handled >= 12
            assert old.handled == before
    assert {(answer.status, answer.error_kind) for answer in got} == {(204, None)}


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_name_that_moves_is_followed_after_a_pause(version: str, tmp_path: Path) -> None:
    ca_file, make = receivers(version, tmp_path)
    with make(0) as old, sender(ca_file=ca_file, connection_seconds=SECONDS) as transport:
        transport.send(request(old.url))
        answers(transport, 1)
        old.stop_listening()
        with make(old.port) as new:
            time.sleep(SECONDS)
            transport.send(request(new.url))
            answers(transport, 1)
            assert (old.handled, new.handled) == (1, 1)


def test_connections_are_kept_for_their_whole_life() -> None:
    with Receiver() as receiver, sender() as transport:
        for _ in range(50):
            transport.send(request(receiver.url))
            answers(transport, 1)
    assert receiver.connections == 1


def test_what_is_on_its_way_when_a_connection_grows_too_old_is_answered() -> None:
    with (
        Receiver(lambda _headers, _body: (204, {}, b"", 0.5)) as receiver,
        sender(connection_seconds=0.1) as transport,
    ):
        transport.send(request(receiver.url, webhook_id="old"))
        assert transport.wait(0.2) == []
        transport.send(request(receiver.url, webhook_id="new"))
        assert transport.in_flight == 2
        assert [answer.request.webhook_id for answer in answers(transport, 2)] == ["old", "new"]
        assert transport.in_flight == 0


def test_requests_over_old_and_new_connections_are_aborted_together() -> None:
    with (
        Receiver(lambda _headers, _body: (204, {}, b"", 30)) as receiver,
        sender(connection_seconds=0.05) as transport,
    ):
        sent = []
        for number in range(3):
            sent.append(request(receiver.url, webhook_id=str(number)))
            transport.send(sent[-1])
            transport.wait(0.1)
        receiver.wait_for(3)
        assert transport.abort() == sent
        assert transport.in_flight == 0


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_probe_takes_a_connection_of_its_own(version: str, tmp_path: Path) -> None:
    """An old connection may lead to a host that the name no longer means, or to a process that is being stopped."""
    ca_file, make = receivers(version, tmp_path)
    with make(0) as old, sender(ca_file=ca_file) as transport:
        transport.send(request(old.url))
        answers(transport, 1)
        old.stop_listening()
        with make(old.port) as new:
            transport.send(request(new.url, fresh=True))
            assert answers(transport, 1)[0].status == 204
            assert (old.handled, new.handled) == (1, 1)
            transport.send(request(new.url))
            answers(transport, 1)
            assert old.handled + new.handled == 3, "only a probe opens one: others take any that is open"


class Once:
    """Answers a connection's first request, and does to the second what it is told."""

    def __init__(self, misbehave: Misbehaviour) -> None:
        self._misbehave = misbehave
        self.arrived: list[bytes] = []
        self._count = 0

    def __call__(self, headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        self.arrived.append(body)
        self._count += 1
        if self._count == 2:
            return self._misbehave
        return 204, {}, b"", 0.0


def close(connection: socket.socket) -> None:
    """Nothing: the connection is closed without an answer."""


def think_and_close(connection: socket.socket) -> None:
    time.sleep(0.2)


@pytest.mark.parametrize("misbehave", [close, think_and_close, reset])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("body", [b"{}", b"x" * 3_000_000])
def test_a_request_that_is_sent_again_over_another_connection_is_told(
    misbehave: Misbehaviour, scheme: str, body: bytes, tmp_path: Path
) -> None:
    """A kept-alive connection died after it took the request: libcurl sends it again by itself."""
    script, authority = Once(misbehave), Authority(tmp_path)
    tls = authority.server() if scheme == "https" else None
    with Receiver(script, tls=tls) as receiver, sender(ca_file=authority.file) as transport:
        transport.send(request(receiver.url))
        first = answers(transport, 1)[0]
        transport.send(request(receiver.url, body=body, webhook_id="second"))
        second = answers(transport, 1)[0]
    assert first.earlier == ()
    assert (second.status, second.error_kind) == (204, None)
    assert len(script.arrived) == len([first]) + len(second.earlier) + 1 == 3
    assert script.arrived[1] == script.arrived[2] == body
    lost = second.earlier[0]
    assert (lost.request.webhook_id, lost.status, lost.error_kind) == ("second", None, ErrorKind.ENDPOINT_UNREACHABLE)
    assert "sent again" in lost.error
    assert lost.seconds >= (0.2 if misbehave is think_and_close else 0)
    assert second.seconds < 1


def test_a_first_request_of_a_connection_is_not_sent_again() -> None:
    with Receiver(lambda _headers, _body: close) as receiver, sender() as transport:
        transport.send(request(receiver.url))
        answer = answers(transport, 1)[0]
    assert (answer.error_kind, answer.earlier) == (ErrorKind.ENDPOINT_UNREACHABLE, ())
    assert len(receiver.requests) == 1


def test_every_request_that_arrives_is_told_where_connections_die_at_random() -> None:
    """Four connections, of which every third request's dies: as many are told as have arrived."""
    count = 0

    def every_third(_headers: dict[str, str], _body: bytes) -> Reply | Misbehaviour:
        nonlocal count
        count += 1
        return close if count % 3 == 0 else (204, {}, b"", 0.002)

    with Receiver(every_third) as receiver, sender() as transport:
        got: list[Answer] = []
        waiting = [request(receiver.url, webhook_id=str(number)) for number in range(200)]
        while len(got) < 200:
            while waiting and transport.in_flight < 4:
                transport.send(waiting.pop())
            got += transport.wait(5)
    assert len(receiver.requests) == sum(1 + len(answer.earlier) for answer in got) > 200


def test_a_stream_whose_connection_dies_is_told_as_often_as_it_arrived(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    def die_at_second(connection: Connection, stream: int) -> None:
        if connection.streams == 2:
            connection.close()
        else:
            connection.accept(stream)

    with (
        Http2Receiver(authority.server(), die_at_second) as receiver,
        sender(ca_file=authority.file) as transport,
    ):
        got = []
        for _ in range(9):
            transport.send(request(receiver.url))
            got += answers(transport, 1)
    assert receiver.handled == sum(1 + len(answer.earlier) for answer in got)


def test_a_refused_stream_is_sent_again_and_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    def refuse_second(connection: Connection, stream: int) -> None:
        if receiver.handled == 2:
            connection.refuse(stream)
        else:
            connection.accept(stream)

    with (
        Http2Receiver(authority.server(), refuse_second) as receiver,
        sender(ca_file=authority.file) as transport,
    ):
        got = []
        for _ in range(2):
            transport.send(request(receiver.url))
            got += answers(transport, 1)
    assert [answer.status for answer in got] == [204, 204]
    assert receiver.handled == sum(1 + len(answer.earlier) for answer in got) == 3
