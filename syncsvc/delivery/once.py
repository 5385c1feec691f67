"""One webhook by itself: the console's "Test", and `sync.failed`."""

from collections.abc import Sequence

from syncsvc.delivery.answers import Answer, Request
from syncsvc.delivery.signing import Signer
from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.delivery.transport import Transport
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.proxy import Proxy


def send_once(
    *,
    url: str,
    secrets: Sequence[str],
    webhook_id: str,
    timestamp: int,
    body: bytes,
    addresses: AddressPolicy,
    timeout: float,
    connect_timeout: float,
    user_agent: str,
    ca_file: str | None = None,
    proxy: Proxy | None = None,
    headers: Sequence[bytes] = (),
    tls: TlsTerms | None = None,
) -> Answer[None]:
    """One try over a connection of its own. `timestamp` and the timeouts are in seconds.

    `headers` are whole lines that go with it, beside the signature's.
    """
    headers = [*Signer(secrets).headers(webhook_id, timestamp, body), *headers]
    with Transport[None](
        addresses,
        connect_timeout=connect_timeout,
        user_agent=user_agent,
        ca_file=ca_file,
        proxy=proxy,
        tls=tls,
    ) as transport:
        transport.send(Request(webhook_id, url, headers, body, timeout, None))
        while True:
            if answers := transport.wait(timeout):  # libcurl ends the request at its timeout
                return answers[0]
