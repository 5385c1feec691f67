"""What tests of the transport ask with."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.delivery.transport import Answer, Request, Transport
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.proxy import Proxy
from tests.receiver import Reply, Script

LOOPBACK = AddressPolicy(["127.0.0.0/8", "::1/128"])


@contextmanager
def sender(
    policy: AddressPolicy = LOOPBACK,
    *,
    ca_file: Path | None = None,
    connection_seconds: float = 60,
    proxy: Proxy | None = None,
    tls: TlsTerms | None = None,
) -> Iterator[Transport]:
    with Transport(
        policy,
        connect_timeout=2,
        user_agent="syncsvc/test",
        ca_file=str(ca_file) if ca_file else None,
        connection_seconds=connection_seconds,
        proxy=proxy,
        tls=tls,
    ) as transport:
        yield transport


def request(
    url: str, *, body: bytes = b"{}", timeout: float = 5, webhook_id: str = "id", fresh: bool = False
) -> Request:
    headers = [b"webhook-id: " + webhook_id.encode()]
    return Request(webhook_id, url, headers, body, timeout, tag="mine", fresh=fresh)


def answers(transport: Transport, count: int, timeout: float = 10) -> list[Answer]:
    deadline = time.monotonic() + timeout
    got: list[Answer] = []
    while len(got) < count and time.monotonic() < deadline:
        got += transport.wait(deadline - time.monotonic())
    assert len(got) == count
    return got


def ask(
    url: str,
    policy: AddressPolicy = LOOPBACK,
    *,
    timeout: float = 5,
    ca_file: Path | None = None,
    proxy: Proxy | None = None,
) -> Answer:
    with sender(policy, ca_file=ca_file, proxy=proxy) as transport:
        transport.send(request(url, timeout=timeout))
        return answers(transport, 1)[0]


def always(status: int, headers: dict[str, str] | None = None, body: bytes = b"", delay: float = 0) -> Script:
    reply: Reply = (status, headers or {}, body, delay)
    return lambda _headers, _body: reply


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
