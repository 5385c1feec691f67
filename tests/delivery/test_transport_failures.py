"""Endpoints that hang, drip, reset, lie about who they are, or stand where they must not."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path

import pytest

from syncsvc.egress.addresses import AddressPolicy
from syncsvc.types import ErrorKind
from tests.delivery.asking import always, answers, ask, free_port, request, sender
from tests.delivery.authority import Authority
from tests.receiver import Receiver, reset


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """Not even on the same host: a signed message goes where the app's URL says."""
    with Receiver() as target, Receiver() as receiver:
        for location in (
            target.url,
            target.url.replace("http:", "https:"),
            f"//127.0.0.1:{target.port}/hook",
            f"http://[::ffff:127.0.0.1]:{target.port}/",
            f"http://user:password@localhost:{target.port}/",
            f"gopher://127.0.0.1:{target.port}/_",
            "/elsewhere",
        ):
            receiver.answer = always(status, {"Location": location})
            answer = ask(receiver.url)
            assert (answer.status, answer.error_kind) == (status, ErrorKind.ENDPOINT_REJECTED)
            assert "not followed" in answer.error
        assert [request.target for request in receiver.requests] == ["/hook"] * 7
    assert target.connections == 0


def test_a_hanging_endpoint_times_out_and_delays_no_other() -> None:
    with Receiver(always(200, delay=30)) as hanging, Receiver() as quick, sender() as transport:
        transport.send(request(hanging.url, timeout=0.4))
        transport.send(request(quick.url))
        first, second = answers(transport, 2)
    assert first.request.url == quick.url
    assert (second.status, second.error_kind) == (None, ErrorKind.ENDPOINT_TIMEOUT)
    assert "within 0.4 s" in second.error
    assert second.seconds > max(0.3, first.seconds)


def test_a_connection_that_breaks_is_no_acknowledgement() -> None:
    with Receiver(lambda _headers, _body: reset) as receiver:
        answer = ask(receiver.url)
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_UNREACHABLE)
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


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", None, None),
        ("soon", None, None),
        ("in an hour", 3300, 3601),
        ("an hour ago", None, None),
        (None, None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(status: int, value: str | None, low: int | None, high: int | None) -> None:
    dates = {"in an hour": time.time() + 3600, "an hour ago": time.time() - 3600}
    if value in dates:
        value = formatdate(dates[value], usegmt=True)
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


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("body", [b"{}", b"x" * 3_000_000])
def test_an_endpoint_that_wants_a_client_certificate_is_called_that(
    version: ssl.TLSVersion, body: bytes, tmp_path: Path
) -> None:
    """With TLS 1.3 the handshake succeeds, and the refusal comes afterwards or is overtaken by the connection's end."""
    authority = Authority(tmp_path)
    context = authority.server()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    with Receiver(tls=context) as receiver, sender(ca_file=authority.file) as transport:
        transport.send(request(receiver.url, body=body))
        answer = answers(transport, 1)[0]
    assert answer.error_kind in {ErrorKind.ENDPOINT_TLS, ErrorKind.ENDPOINT_UNREACHABLE}
    assert "client certificate" in answer.error
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
        answer = ask(f"https://127.0.0.1:{port}/")
    assert answer.error_kind is ErrorKind.ENDPOINT_TLS
    assert "scheme and port" in answer.error


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
