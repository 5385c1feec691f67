from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from syncsvc.delivery.signing import Signer, check_secret, new_secret

BODY = b'{"type": "ping"}'


def signed(secrets: list[str], body: bytes = BODY) -> dict[str, str]:
    lines = Signer(secrets).headers("msg-1", int(datetime.now(UTC).timestamp()), body)
    return dict(line.decode().split(": ", 1) for line in lines)


def test_a_standard_webhooks_receiver_accepts_the_signature() -> None:
    secret = new_secret()
    Webhook(secret).verify(BODY, signed([secret]))


def test_while_a_secret_is_rotated_either_verifies() -> None:
    old, new = new_secret(), new_secret()
    headers = signed([new, old])
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)


def test_another_secret_or_body_does_not_verify() -> None:
    secret = new_secret()
    headers = signed([secret])
    for key, body in ((secret, b'{"type": "pong"}'), (new_secret(), BODY)):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, headers)


def test_the_signature_is_that_of_the_specification() -> None:
    # Standard Webhooks 1.0.0, its example of a secret, id and timestamp.
    lines = Signer(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert lines == [
        b"webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
        b"webhook-timestamp: 1614265330",
        b"webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ]


def test_one_signer_signs_many_bodies_alike() -> None:
    signer = Signer([new_secret()])
    first = signer.headers("a", 1, b"one")
    signer.headers("b", 2, b"two")
    assert signer.headers("a", 1, b"one") == first


def test_new_secrets_hold_32_random_bytes() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert all(len(b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)


def test_a_good_secret_loses_only_the_space_around_it() -> None:
    secret = new_secret()
    assert check_secret(f" {secret}\n") == secret


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "begins with whsec_"),
        ("hunter2hunter2hunter2hunter2hunter2", "begins with whsec_"),
        ("whsec_not base64!", "must be base64"),
        ("whsec_" + b64encode(bytes(23)).decode(), "24 to 64 bytes; this one holds 23"),
        ("whsec_" + b64encode(bytes(65)).decode(), "24 to 64 bytes; this one holds 65"),
    ],
)
def test_a_bad_secret_is_refused_without_being_repeated(secret: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check_secret(secret)
    assert not secret or secret not in str(error.value)


def test_an_app_without_a_secret_is_said_to_need_one() -> None:
    with pytest.raises(ValueError, match="set one on the app"):
        Signer([])


def test_a_signer_shows_nothing_of_its_secrets() -> None:
    assert repr(Signer([new_secret()])) == "<Signer>"
