"""Webhooks through a proxy, real ones through a real one."""

from pathlib import Path

import pytest

from syncsvc.delivery.webhook_url import check_webhook_url
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.proxy import Proxy
from syncsvc.types import ErrorKind
from tests.delivery.asking import always, answers, ask, free_port, request, sender
from tests.delivery.authority import Authority
from tests.egress.proxy import ProxyServer
from tests.receiver import Receiver, reset

NONE = AddressPolicy([])
LOGIN = "Basic bWU6Z2UgaGVpbQ=="  # me:ge heim


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_webhook_goes_through_a_tunnel(scheme: str, tmp_path: Path) -> None:
    """Which name it has the proxy finds out: here it leads to the receiver."""
    authority = Authority(tmp_path)
    tls = authority.server() if scheme == "https" else None
    with Receiver(tls=tls) as receiver, ProxyServer() as server:
        answer = ask(receiver.url, proxy=server.proxy(), ca_file=authority.file)
    assert (answer.status, answer.error_kind) == (204, None)
    assert [(each.method, each.target) for each in server.asked] == [("CONNECT", f"127.0.0.1:{receiver.port}")]
    assert "webhook-id" not in server.asked[0].headers, "what is sent is not the proxy's affair"
    assert receiver.requests[0].headers["webhook-id"] == "id"
    assert "proxy-authorization" not in receiver.requests[0].headers


def test_a_name_that_only_the_proxy_knows_is_the_proxys_to_judge() -> None:
    with Receiver() as receiver, ProxyServer(leads={"known.invalid": ("127.0.0.1", receiver.port)}) as server:
        answer = ask("http://known.invalid/hook", NONE, proxy=server.proxy())
    assert answer.status == 204
    assert server.targets == ["known.invalid:80"]


@pytest.mark.parametrize("url", ["HTTP://KNOWN.invalid/hook", "http://known.invalid?a=b", "http://known.invalid:/"])
def test_a_url_may_be_written_as_the_console_takes_it(url: str) -> None:
    with Receiver() as receiver:
        leads = dict.fromkeys(("KNOWN.invalid", "known.invalid"), ("127.0.0.1", receiver.port))
        with ProxyServer(leads=leads) as server:
            assert ask(check_webhook_url(url), NONE, proxy=server.proxy()).status == 204


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "%31%32%37.0.0.1"]
)
def test_a_proxy_is_not_asked_for_what_is_inside(host: str) -> None:
    with Receiver() as receiver, ProxyServer() as server:
        answer = ask(f"http://{host}:{receiver.port}/", NONE, proxy=server.proxy())
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS)
    assert (server.connections, receiver.connections) == (0, 0)


def test_a_tunnel_is_kept_alive() -> None:
    with Receiver() as receiver, ProxyServer() as server, sender(proxy=server.proxy()) as transport:
        for _ in range(20):
            transport.send(request(receiver.url))
            assert answers(transport, 1)[0].status == 204
    assert (server.connections, receiver.connections) == (1, 1)


def test_the_login_is_sent_to_the_proxy_alone() -> None:
    with Receiver() as receiver, ProxyServer(login=LOGIN) as server:
        answer = ask(receiver.url, proxy=server.proxy("me:ge%20heim@"))
    assert answer.status == 204
    assert server.asked[-1].headers["proxy-authorization"] == LOGIN
    assert "proxy-authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("login", ["", "me:geheim@"])
def test_a_proxy_that_wants_another_login_is_called_that(login: str) -> None:
    with Receiver() as receiver, ProxyServer(login=LOGIN) as server:
        answer = ask(receiver.url, proxy=server.proxy(login))
    assert (answer.status, answer.error_kind) == (None, ErrorKind.EGRESS_PROXY)
    assert "EGRESS_PROXY" in answer.error
    assert "geheim" not in answer.error
    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("head", "kind", "word"),
    [
        ("403 Forbidden", ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS, "rules"),
        ("407 Request rejected by proxy\r\nX-Smokescreen-Error: denied", ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS, "rules"),
        ("502 Bad Gateway", ErrorKind.ENDPOINT_UNREACHABLE, "could not connect"),
        ("503 Service Unavailable", ErrorKind.ENDPOINT_UNREACHABLE, "could not connect"),
        ("504 Gateway Timeout", ErrorKind.ENDPOINT_TIMEOUT, "in time"),
        ("500 Unable to connect", ErrorKind.ENDPOINT_UNREACHABLE, "could not connect"),
        ("401 Unauthorized", ErrorKind.EGRESS_PROXY, "password"),
        ("404 Not Found", ErrorKind.EGRESS_PROXY, "EGRESS_PROXY"),
        ("405 Method Not Allowed", ErrorKind.EGRESS_PROXY, "EGRESS_PROXY"),
        ("429 Too Many Requests", ErrorKind.EGRESS_PROXY, "429"),
        ("302 Found\r\nLocation: http://127.0.0.1/", ErrorKind.EGRESS_PROXY, "302"),
    ],
)
def test_what_a_proxy_answers_blames_nobody_else(head: str, kind: ErrorKind, word: str) -> None:
    with Receiver() as receiver, ProxyServer() as server:
        server.answer = f"HTTP/1.1 {head}\r\nContent-Length: 5\r\n\r\nnever".encode()
        answer = ask(receiver.url, proxy=server.proxy())
    assert (answer.status, answer.error_kind, answer.body) == (None, kind, b"")
    assert word in answer.error
    assert "egress proxy" in answer.error
    assert receiver.connections == 0


def test_a_proxy_that_breaks_off_is_the_proxys_failure() -> None:
    with Receiver() as receiver, ProxyServer() as server:
        server.answer = b""
        answer = ask(receiver.url, proxy=server.proxy())
    assert (answer.status, answer.error_kind) == (None, ErrorKind.EGRESS_PROXY)
    assert "broke off" in answer.error


def test_a_proxy_that_speaks_something_else_is_the_proxys_failure() -> None:
    with Receiver() as receiver, ProxyServer() as server:
        server.answer = b"SSH-2.0-OpenSSH_9.6\r\n"
        answer = ask(receiver.url, proxy=server.proxy())
    assert (answer.status, answer.error_kind) == (None, ErrorKind.EGRESS_PROXY)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-proxy.invalid"])
def test_a_proxy_that_is_not_there_is_the_proxys_failure_and_nothing_goes_directly(host: str) -> None:
    with Receiver() as receiver:
        answer = ask(receiver.url, proxy=Proxy(host, free_port(), "me", "geheim"))
    assert (answer.status, answer.error_kind) == (None, ErrorKind.EGRESS_PROXY)
    assert host in answer.error
    assert "geheim" not in answer.error
    assert receiver.connections == 0


def test_a_tunnel_that_does_not_come_about_in_time() -> None:
    with Receiver() as receiver, ProxyServer() as server:
        server.is_silent = True
        answer = ask(receiver.url, proxy=server.proxy(), timeout=0.4)
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_TIMEOUT)
    assert "egress proxy" in answer.error


def test_what_the_endpoint_does_behind_a_proxy_is_the_endpoints(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Receiver(tls=authority.server("127.0.0.2")) as receiver, ProxyServer() as server:
        assert ask(receiver.url, proxy=server.proxy(), ca_file=authority.file).error_kind is ErrorKind.ENDPOINT_TLS
    with Receiver(always(407)) as receiver, ProxyServer() as server:
        answer = ask(receiver.url, proxy=server.proxy())
    assert (answer.status, answer.error_kind) == (407, ErrorKind.ENDPOINT_REJECTED)
    with Receiver(lambda _headers, _body: reset) as receiver, ProxyServer() as server:
        answer = ask(receiver.url, proxy=server.proxy())
    assert answer.error_kind is ErrorKind.ENDPOINT_UNREACHABLE
    assert "proxy" not in answer.error
    with Receiver(always(200, delay=30)) as receiver, ProxyServer() as server:
        answer = ask(receiver.url, proxy=server.proxy(), timeout=0.4)
    assert answer.error_kind is ErrorKind.ENDPOINT_TIMEOUT
    assert "proxy" not in answer.error


def test_a_tunnel_that_dies_is_made_again() -> None:
    """And where the proxy is gone by then, that is said."""
    with Receiver() as receiver, ProxyServer() as server, sender(proxy=server.proxy()) as transport:
        transport.send(request(receiver.url))
        assert answers(transport, 1)[0].status == 204
        server.answer = b"HTTP/1.1 405 No\r\n\r\n"
        server.end_connections()
        transport.send(request(receiver.url))
        assert answers(transport, 1)[0].error_kind is ErrorKind.EGRESS_PROXY
        server.answer = None
        transport.send(request(receiver.url))
        assert answers(transport, 1)[0].status == 204
