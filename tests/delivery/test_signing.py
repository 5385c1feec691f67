from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from syncsvc.delivery.signing import Signer, Signing, check_secret, new_secret, public_key, signing_of

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
        ("whsk_not base64!", "must be base64"),
        ("whsk_", "32 or 64 bytes; this one holds 0"),
        ("whsk_" + b64encode(bytes(33)).decode(), "32 or 64 bytes; this one holds 33"),
        ("whsk_" + b64encode(bytes(64)).decode(), "do not belong together"),
        ("whpk_" + b64encode(bytes(32)).decode(), "This is a public key"),
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


# Svix's own example, which the specification of Standard Webhooks 1.0.0 repeats.
PRIVATE = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


@pytest.mark.parametrize("given", [PRIVATE, b64encode(b64decode(PRIVATE)[:32]).decode()])
def test_the_asymmetric_signature_is_that_of_the_specification(given: str) -> None:
    secret = check_secret(f" whsk_{given}\n")
    lines = Signer([secret]).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert lines[2] == (
        b"webhook-signature: v1a,"
        b"hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    )
    assert (secret, public_key(secret)) == (f"whsk_{PRIVATE}", PUBLIC)


def verifies(key: str, headers: dict[str, str], body: bytes = BODY) -> bool:
    """By hand, as docs/webhooks.md says it."""
    public = Ed25519PublicKey.from_public_bytes(b64decode(key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in headers["webhook-signature"].split(" "):
        version, _, encoded = signature.partition(",")
        if version != "v1a":
            continue
        try:
            public.verify(b64decode(encoded), signed)
        except InvalidSignature:
            continue
        return True
    return False


def test_a_key_pair_signs_so_that_its_public_key_verifies_and_no_other() -> None:
    secret, other = new_secret(Signing.ED25519), new_secret(Signing.ED25519)
    headers = signed([secret])
    assert verifies(public_key(secret), headers)
    assert not verifies(public_key(other), headers)
    assert not verifies(public_key(secret), headers, b"another body")
    assert check_secret(secret) == secret


def test_both_kinds_sign_while_one_takes_the_place_of_the_other() -> None:
    pair, shared = new_secret(Signing.ED25519), new_secret()
    for secrets in ([pair, shared], [shared, pair]):
        headers = signed(secrets)
        assert verifies(public_key(pair), headers)
        Webhook(shared).verify(BODY, headers)


def test_a_public_key_is_no_secret_of_a_signature_by_hmac() -> None:
    """A receiver that takes it for one finds no signature that fits."""
    pair = new_secret(Signing.ED25519)
    for key in (public_key(pair), public_key(pair).removeprefix("whpk_"), pair.removeprefix("whsk_")):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(BODY, signed([pair]))


def test_a_secret_says_how_it_signs() -> None:
    for signing in Signing:
        assert signing_of(new_secret(signing)) is signing
    assert public_key(new_secret()) == ""
