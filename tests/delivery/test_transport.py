"""The exchange itself, with a receiver on real sockets."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from syncsvc.delivery.transport import Answer
from syncsvc.types import ErrorKind
from tests.delivery.asking import always, answers, ask, free_port, request, sender
from tests.receiver import OK, Receiver


def test_a_webhook_arrives_whole_and_its_answer_comes_back() -> None:
    with Receiver(always(200, body=b"thanks")) as receiver, sender() as transport:
        sent = request(receiver.url, body=b'{"a": 1}')
        transport.send(sent)
        assert transport.in_flight == 1
        answer = answers(transport, 1)[0]
        assert transport.in_flight == 0
    assert answer.request is sent
    assert (answer.status, answer.error_kind, answer.error, answer.body) == (200, None, "", b"thanks")
    assert 0 < answer.seconds < 5
    arrived = receiver.requests[0]
    assert arrived.body == b'{"a": 1}'
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.headers["user-agent"] == "syncsvc/test"
    assert arrived.headers["webhook-id"] == "id"


def test_hundreds_of_webhooks_travel_on_few_connections() -> None:
    with Receiver() as receiver, sender() as transport:
        waiting = [request(receiver.url, webhook_id=str(n), body=b"x" * n) for n in range(600)]
        got: list[Answer] = []
        while len(got) < 600:
            while waiting and transport.in_flight < 8:
                transport.send(waiting.pop())
            got += transport.wait(5)
    assert receiver.connections <= 8
    assert all(answer.error_kind is None for answer in got)
    assert {arrived.headers["webhook-id"]: len(arrived.body) for arrived in receiver.requests} == {
        str(n): n for n in range(600)
    }


def test_a_large_body_is_not_announced_with_expect() -> None:
    with Receiver() as receiver, sender() as transport:
        transport.send(request(receiver.url, body=b"x" * 3_000_000))
        assert answers(transport, 1)[0].status == 204
    assert len(receiver.requests[0].body) == 3_000_000
    assert "expect" not in receiver.requests[0].headers


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    with Receiver() as receiver:
        assert ask(receiver.url).status == 204


def test_cookies_and_netrc_are_not_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password geheim\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Receiver(always(204, {"Set-Cookie": "a=b"})) as receiver, sender() as transport:
        for _ in range(2):
            transport.send(request(receiver.url))
            answers(transport, 1)
    assert not {"cookie", "authorization"} & receiver.requests[1].headers.keys()


@pytest.mark.parametrize(("status", "kind"), [(200, None), (500, ErrorKind.ENDPOINT_ERROR)])
def test_a_huge_answer_is_kept_to_4_kib_and_keeps_its_status(status: int, kind: ErrorKind | None) -> None:
    with Receiver(always(status, body=b"y" * 5_000_000)) as receiver, sender() as transport:
        for _ in range(2):
            transport.send(request(receiver.url))
            answer = answers(transport, 1)[0]
            assert (answer.status, answer.error_kind, answer.body) == (status, kind, b"y" * 4096)
            assert answer.seconds < 2


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("size", "connections"),
    [(0, 1), (4095, 1), (4096, 1), (4097, 1), (8192, 1), (65_536, 1), (65_537, 3), (1_000_000, 3)],
)
def test_an_answer_of_up_to_64_kib_keeps_the_connection(status: int, size: int, connections: int) -> None:
    with Receiver(always(status, body=b"y" * size)) as receiver, sender() as transport:
        for _ in range(3):
            transport.send(request(receiver.url))
            answer = answers(transport, 1)[0]
            assert (answer.status, len(answer.body)) == (status, min(size, 4096))
    assert receiver.connections == connections


def test_an_answer_without_end_is_left_after_64_kib() -> None:
    def stream(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"y" * 0x1000 + b"\r\n")

    with Receiver(lambda _headers, _body: stream) as receiver:
        answer = ask(receiver.url)
    assert (answer.status, answer.error_kind, answer.body) == (200, None, b"y" * 4096)


def test_a_kept_alive_connection_that_the_endpoint_closed_costs_no_failure() -> None:
    def answer_and_close(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Receiver(lambda _headers, _body: answer_and_close) as receiver, sender() as transport:
        for _ in range(5):
            transport.send(request(receiver.url))
            answer = answers(transport, 1)[0]
            assert (answer.status, answer.earlier) == (204, ())
            time.sleep(0.01)
    assert (receiver.connections, len(receiver.requests)) == (5, 5)


def test_wait_ends_at_its_time_out_with_nothing() -> None:
    with Receiver(always(200, delay=30)) as receiver, sender() as transport:
        assert transport.wait(5) == []  # nothing is in flight
        transport.send(request(receiver.url))
        started = time.monotonic()
        assert transport.wait(0.2) == []
        assert 0.15 < time.monotonic() - started < 10


def test_wake_ends_a_wait_from_another_thread() -> None:
    with Receiver(always(200, delay=30)) as receiver, sender() as transport:
        transport.send(request(receiver.url))
        thread = threading.Timer(0.1, transport.wake)
        thread.start()
        started = time.monotonic()
        assert transport.wait(10) == []
        assert time.monotonic() - started < 2
        thread.join()
        assert transport.in_flight == 1


def test_wake_never_blocks_and_does_no_harm_afterwards() -> None:
    with sender() as transport:
        for _ in range(100_000):
            transport.wake()
    transport.wake()


def test_abort_closes_what_is_open_and_the_transport_goes_on() -> None:
    with Receiver(always(200, delay=30)) as receiver, sender() as transport:
        sent = [request(receiver.url, webhook_id=str(n)) for n in range(3)]
        for each in sent:
            transport.send(each)
        transport.wait(0.1)
        receiver.wait_for(3)
        assert sorted(transport.abort()) == sorted(sent)
        assert transport.in_flight == 0
        receiver.answer = lambda _headers, _body: OK
        transport.send(request(receiver.url))
        assert answers(transport, 1)[0].status == 204


def test_abort_before_the_first_wait_sends_nothing() -> None:
    with Receiver() as receiver, sender() as transport:
        transport.send(request(receiver.url))
        assert len(transport.abort()) == 1
        assert transport.wait(0.1) == []
    assert receiver.connections == 0


def test_closing_leaves_no_descriptor_behind() -> None:
    descriptors = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
    with Receiver(always(200, delay=30)) as receiver:
        before = len(os.listdir(descriptors))
        for _ in range(3):
            with sender() as transport:
                for _ in range(5):
                    transport.send(request(receiver.url))
                transport.wait(0.1)
        # The receiver's own ends close in its threads.
        deadline = time.monotonic() + 5
        receiver.answer = lambda _headers, _body: OK
        receiver.close()
        while len(os.listdir(descriptors)) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(os.listdir(descriptors)) <= before


def test_more_descriptors_than_select_can_hold_are_no_limit() -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with Receiver() as receiver:
            answer = ask(receiver.url)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert answer.status == 204
    assert answer.seconds < 1
