import time

from standardwebhooks import Webhook

from syncsvc.delivery.answers import Answer
from syncsvc.delivery.once import send_once
from syncsvc.delivery.payload import ping, timestamp_now
from syncsvc.delivery.signing import new_secret
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.types import ErrorKind
from tests.receiver import Receiver


def send_ping(url: str, secret: str, *, timeout: float = 5) -> Answer:
    return send_once(
        url=url,
        secrets=[secret],
        webhook_id="0b7c6f0e-5555-4000-8000-000000000005",
        timestamp=int(time.time()),
        body=ping("0b7c6f0e-4444-4000-8000-000000000004", "search", timestamp_now()),
        addresses=AddressPolicy(["127.0.0.0/8"]),
        timeout=timeout,
        connect_timeout=2,
        user_agent="syncsvc/test",
    )


def test_a_ping_arrives_signed_and_its_answer_comes_back() -> None:
    secret = new_secret()
    with Receiver(lambda _headers, _body: (200, {}, b"pong", 0)) as receiver:
        answer = send_ping(receiver.url, secret)
    assert (answer.status, answer.error_kind, answer.body) == (200, None, b"pong")
    arrived = receiver.requests[0]
    assert Webhook(secret).verify(arrived.body, arrived.headers)["type"] == "ping"


def test_an_endpoint_that_hangs_ends_at_the_time_out() -> None:
    with Receiver(lambda _headers, _body: (200, {}, b"", 30)) as receiver:
        answer = send_ping(receiver.url, new_secret(), timeout=0.3)
    assert answer.error_kind is ErrorKind.ENDPOINT_TIMEOUT
