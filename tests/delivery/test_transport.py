"""Against real sockets: a receiver on 127.0.0.1 that answers, hangs, drips and resets."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path

import pytest

from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.transport import Answer, Request, Transport
from syncsvc.types import ErrorKind
from tests.delivery.authority import Authority
from tests.receiver import OK, Misbehaviour, Receiver, Reply, Script, reset

LOOPBACK = AddressPolicy(["127.0.0.0/8", "::1/128"])


@contextmanager
def sender(policy: AddressPolicy = LOOPBACK, *, ca_file: Path | None = None) -> Iterator[Transport]:
    authorities = str(ca_file) if ca_file else None
    with Transport(policy, connect_timeout=2, user_agent="syncsvc/test", ca_file=authorities) as transport:
        yield transport


def request(url: str, *, body: bytes = b"{}", timeout: float = 5, webhook_id: str = "id") -> Request:
    return Request(webhook_id, url, [b"webhook-id: " + webhook_id.encode()], body, timeout, tag="mine")


def answers(transport: Transport, count: int, timeout: float = 10) -> list[Answer]:
    deadline = time.monotonic() + timeout
    got: list[Answer] = []
    while len(got) < count and time.monotonic() < deadline:
        got += transport.wait(deadline - time.monotonic())
    assert len(got) == count
    return got


def ask(url: str, policy: AddressPolicy = LOOPBACK, *, timeout: float = 5, ca_file: Path | None = None) -> Answer:
    with sender(policy, ca_file=ca_file) as transport:
        transport.send(request(url, timeout=timeout))
        return answers(transport, 1)[0]


def always(status: int, headers: dict[str, str] | None = None, body: bytes = b"", delay: float = 0) -> Script:
    reply: Reply = (status, headers or {}, body, delay)
    return lambda _headers, _body: reply


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


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


def test_a_redirect_is_not_followed() -> None:
    with Receiver() as target, Receiver(always(307, {"Location": target.url})) as receiver:
        answer = ask(receiver.url)
    assert (answer.status, answer.error_kind) == (307, ErrorKind.ENDPOINT_REJECTED)
    assert "not followed" in answer.error
    assert target.requests == []


def test_a_hanging_endpoint_times_out_and_delays_no_other() -> None:
    with Receiver(always(200, delay=30)) as hanging, Receiver() as quick, sender() as transport:
        transport.send(request(hanging.url, timeout=0.4))
        transport.send(request(quick.url))
        first, second = answers(transport, 2)
    assert first.request.url == quick.url
    assert first.seconds < 0.3
    assert (second.status, second.error_kind) == (None, ErrorKind.ENDPOINT_TIMEOUT)
    assert "within 0.4 s" in second.error
    assert 0.3 < second.seconds < 2


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        time.sleep(0.02)
        connection.sendall(b".")


def test_a_dripping_answer_is_ended_by_the_whole_time_out() -> None:
    with Receiver(lambda _headers, _body: drip) as receiver:
        answer = ask(receiver.url, timeout=0.4)
    assert (answer.status, answer.error_kind) == (200, ErrorKind.ENDPOINT_TIMEOUT)
    assert answer.seconds < 1


def reset_amid_the_answer(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    time.sleep(0.05)
    reset(connection)


def close_amid_the_answer(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")


@pytest.mark.parametrize("misbehave", [reset, reset_amid_the_answer, close_amid_the_answer])
def test_a_connection_that_breaks_is_no_acknowledgement(misbehave: Misbehaviour) -> None:
    with Receiver(lambda _headers, _body: misbehave) as receiver:
        answer = ask(receiver.url)
    assert answer.error_kind is ErrorKind.ENDPOINT_UNREACHABLE
    assert "ended the connection" in answer.error


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    answer = ask(f"http://127.0.0.1:{free_port()}/hook?token=geheim")
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_UNREACHABLE)
    assert "Nothing accepts connections" in answer.error
    assert "geheim" not in answer.error


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    answer = ask("http://no-such-host.invalid/")
    assert answer.error_kind in {ErrorKind.ENDPOINT_UNREACHABLE, ErrorKind.ENDPOINT_TIMEOUT}
    assert "no-such-host.invalid" in answer.error


def speak_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def test_a_server_that_speaks_no_http_is_an_error() -> None:
    with Receiver(lambda _headers, _body: speak_nonsense) as receiver:
        answer = ask(receiver.url)
    assert answer.error_kind is ErrorKind.ENDPOINT_ERROR
    assert "not HTTP" in answer.error


@pytest.mark.parametrize(("status", "kind"), [(200, None), (500, ErrorKind.ENDPOINT_ERROR)])
def test_a_huge_answer_is_read_to_4_kib_and_keeps_its_status(status: int, kind: ErrorKind | None) -> None:
    with Receiver(always(status, body=b"y" * 5_000_000)) as receiver, sender() as transport:
        for _ in range(2):
            transport.send(request(receiver.url))
            answer = answers(transport, 1)[0]
            assert (answer.status, answer.error_kind, answer.body) == (status, kind, b"y" * 4096)
            assert answer.seconds < 2


@pytest.mark.parametrize("size", [4095, 4096])
def test_an_answer_that_fits_keeps_the_connection(size: int) -> None:
    with Receiver(always(200, body=b"y" * size)) as receiver, sender() as transport:
        for _ in range(3):
            transport.send(request(receiver.url))
            assert len(answers(transport, 1)[0].body) == size
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", None, None),
        ("soon", None, None),
        (formatdate(time.time() + 3600, usegmt=True), 3300, 3601),
        (formatdate(time.time() - 3600, usegmt=True), None, None),
        (None, None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(status: int, value: str | None, low: int | None, high: int | None) -> None:
    with Receiver(always(status, {"Retry-After": value} if value else {})) as receiver:
        answer = ask(receiver.url)
    assert answer.error_kind is ErrorKind.ENDPOINT_THROTTLED
    if low is None or high is None:
        assert answer.retry_after is None
    else:
        assert answer.retry_after is not None
        assert low <= answer.retry_after <= high


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_a_name_that_leads_to_a_forbidden_address_is_not_connected_to(host: str) -> None:
    with Receiver() as receiver:
        answer = ask(f"http://{host}:{receiver.port}/", AddressPolicy([]))
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS)
    assert "WEBHOOK_ALLOWED_NETWORKS" in answer.error
    assert receiver.connections == 0


def test_a_forbidden_ipv6_address_is_not_connected_to() -> None:
    assert ask("http://[::1]:9/", AddressPolicy([])).error_kind is ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS


@pytest.mark.parametrize("host", ["localhost", "[::ffff:127.0.0.1]"])
def test_a_listed_address_is_connected_to(host: str) -> None:
    with Receiver() as receiver:
        assert ask(f"http://{host}:{receiver.port}/", AddressPolicy(["127.0.0.0/8"])).status == 204


def test_an_authority_that_is_trusted_makes_tls_work(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Receiver(tls=authority.server()) as receiver, sender(ca_file=authority.file) as transport:
        for _ in range(20):
            transport.send(request(receiver.url))
            assert answers(transport, 1)[0].status == 204
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("address", "days", "trusted"), [("127.0.0.1", 1, False), ("127.0.0.2", 1, True), ("127.0.0.1", -1, True)]
)
def test_a_certificate_that_is_untrusted_wrong_or_expired_is_refused(
    tmp_path: Path, address: str, days: int, trusted: bool
) -> None:
    authority = Authority(tmp_path)
    with Receiver(tls=authority.server(address, days=days)) as receiver:
        answer = ask(receiver.url, ca_file=authority.file if trusted else None)
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_TLS)
    assert "certificate" in answer.error
    assert receiver.requests == []


@contextmanager
def plain_server(answer: bytes) -> Iterator[int]:
    """Answers the first connection's first bytes with `answer`, whatever they are."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            connection.recv(4096)
            connection.sendall(answer)
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_https_to_a_port_without_tls_is_a_tls_failure() -> None:
    with plain_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert ask(f"https://127.0.0.1:{port}/").error_kind is ErrorKind.ENDPOINT_TLS


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_is_never_accepted_times_out_and_says_so(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        answer = ask(f"{scheme}://127.0.0.1:{address[1]}/", timeout=0.4)
        for each in waiting:
            each.close()
    assert answer.error_kind is ErrorKind.ENDPOINT_TIMEOUT
    assert "No connection" in answer.error


def test_tls_that_is_never_answered_times_out_as_no_connection() -> None:
    with Receiver() as receiver:  # waits for the end of headers that never come
        answer = ask(f"https://127.0.0.1:{receiver.port}/", timeout=0.4)
    assert answer.error_kind is ErrorKind.ENDPOINT_TIMEOUT
    assert "No connection" in answer.error


def test_a_kept_alive_connection_that_the_endpoint_closed_costs_no_failure() -> None:
    def answer_and_close(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Receiver(lambda _headers, _body: answer_and_close) as receiver, sender() as transport:
        for _ in range(5):
            transport.send(request(receiver.url))
            assert answers(transport, 1)[0].status == 204
            time.sleep(0.01)
    assert receiver.connections == 5


def test_wait_ends_at_its_time_out_with_nothing() -> None:
    with Receiver(always(200, delay=30)) as receiver, sender() as transport:
        assert transport.wait(5) == []  # nothing is in flight
        transport.send(request(receiver.url))
        started = time.monotonic()
        assert transport.wait(0.2) == []
        assert 0.15 < time.monotonic() - started < 1


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
