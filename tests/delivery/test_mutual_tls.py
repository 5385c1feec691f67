"""An app's own authorities and its client certificate, against servers that want them."""

import ssl
from pathlib import Path

import pytest

from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.types import ErrorKind
from tests.delivery.asking import answers, request, sender
from tests.delivery.authority import Authority
from tests.egress.proxy import ProxyServer
from tests.receiver import OK, Receiver, reset


class Folders:
    """Authorities, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.public, self.private, self.clients, self.strangers = (
            Authority(self._made(folder / name), name=name) for name in ("public", "private", "clients", "strangers")
        )

    @staticmethod
    def _made(folder: Path) -> Path:
        folder.mkdir()
        return folder


@pytest.fixture
def known(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def terms(known: Folders, *, owner: str = "app", days: int = 60, by: Authority | None = None) -> TlsTerms:
    certificate, key = (by or known.clients).client(days=days)
    return TlsTerms(owner, known.private.file.read_text(), certificate, key)


def test_an_authority_of_an_apps_own_is_trusted_besides_the_public_ones(known: Folders) -> None:
    tls = TlsTerms("app", known.private.file.read_text())
    with Receiver(tls=known.private.server()) as inside, Receiver(tls=known.public.server()) as outside:
        for mine, status in ((tls, 204), (None, None)):
            with sender(ca_file=known.public.file, tls=mine) as transport:
                transport.send(request(outside.url))
                assert answers(transport, 1)[0].status == 204
                transport.send(request(inside.url))
                answer = answers(transport, 1)[0]
                assert answer.status == status
        assert answer.error_kind is ErrorKind.ENDPOINT_TLS
        assert "the app's CA certificate" in answer.error
        assert len(inside.requests) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_opens_an_endpoint_that_wants_one(version: ssl.TLSVersion, known: Folders) -> None:
    context = known.private.server(clients=known.clients)
    context.minimum_version = context.maximum_version = version
    with Receiver(tls=context) as receiver, sender(tls=terms(known)) as transport:
        for body in (b"{}", b"x" * 1_000_000):
            transport.send(request(receiver.url, body=body))
            assert answers(transport, 1)[0].status == 204
    assert receiver.connections == 1


WRONG = {
    "unknown authority": ({"by": "strangers"}, "authority that signed the app's client certificate"),
    "expired": ({"days": -1}, "certificate has ended"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_client_certificate_that_is_refused_is_called_that(case: str, known: Folders) -> None:
    """With TLS 1.2, where the refusal belongs to the handshake and cannot be overtaken by the connection's end."""
    options, words = WRONG[case]
    made = {"by": known.strangers} if "by" in options else options
    context = known.private.server(clients=known.clients)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Receiver(tls=context) as receiver, sender(tls=terms(known, **made)) as transport:  # type: ignore[arg-type]
        transport.send(request(receiver.url))
        answer = answers(transport, 1)[0]
    assert (answer.status, answer.error_kind) == (None, ErrorKind.ENDPOINT_TLS)
    assert words in answer.error
    assert receiver.requests == []


@pytest.mark.parametrize("case", WRONG)
def test_with_tls_1_3_a_refused_certificate_is_named_too(case: str, known: Folders) -> None:
    options, _ = WRONG[case]
    made = {"by": known.strangers} if "by" in options else options
    context = known.private.server(clients=known.clients)
    with Receiver(tls=context) as receiver, sender(tls=terms(known, **made)) as transport:  # type: ignore[arg-type]
        transport.send(request(receiver.url, body=b"x" * 3_000_000))
        answer = answers(transport, 1)[0]
    assert answer.error_kind is ErrorKind.ENDPOINT_TLS
    assert "client certificate" in answer.error
    assert receiver.requests == []


def test_a_reset_of_a_connection_that_has_served_is_no_failure_of_tls(known: Folders) -> None:
    replies = iter([OK, reset, reset])
    context = known.private.server(clients=known.clients)
    with Receiver(lambda _h, _b: next(replies), tls=context) as receiver, sender(tls=terms(known)) as transport:
        transport.send(request(receiver.url))
        assert answers(transport, 1)[0].status == 204
        transport.send(request(receiver.url, body=b"x" * 100_000))
        answer = answers(transport, 1)[0]
    assert answer.earlier or answer.error_kind is ErrorKind.ENDPOINT_UNREACHABLE


def test_a_key_that_is_anothers_is_refused_before_anything_is_sent(known: Folders) -> None:
    (certificate, _), (_, key) = known.clients.client(), known.clients.client()
    mixed = TlsTerms("app", known.private.file.read_text(), certificate, key)
    with Receiver(tls=known.private.server(clients=known.clients)) as receiver, sender(tls=mixed) as transport:
        transport.send(request(receiver.url))
        answer = answers(transport, 1)[0]
    assert answer.error_kind is ErrorKind.ENDPOINT_TLS
    assert "give the app both again" in answer.error
    assert receiver.requests == []


def test_a_connection_is_not_used_on_with_other_terms(known: Folders) -> None:
    """Neither one that was opened with a certificate for requests without, nor with the old one for the new."""
    first, second = terms(known), terms(known)
    with Receiver(tls=known.private.server(clients=known.clients)) as receiver, sender(tls=first) as transport:
        for number, used in enumerate((first, second, first), 1):
            transport.use(used)
            for _ in range(3):
                transport.send(request(receiver.url))
                assert answers(transport, 1)[0].status == 204
            assert receiver.connections == number
        transport.use(TlsTerms("app", first.authorities))
        transport.send(request(receiver.url, body=b"x" * 1_000_000))
        assert answers(transport, 1)[0].error_kind in {ErrorKind.ENDPOINT_TLS, ErrorKind.ENDPOINT_UNREACHABLE}
        assert len(receiver.requests) == 9


def test_requests_on_their_way_end_over_the_old_connection(known: Folders) -> None:
    first, second = terms(known), terms(known)
    slow = lambda _headers, _body: (204, {}, b"", 0.2)  # noqa: E731
    with Receiver(slow, tls=known.private.server(clients=known.clients)) as receiver, sender(tls=first) as transport:
        transport.send(request(receiver.url))
        transport.wait(0.05)
        transport.use(second)
        transport.send(request(receiver.url))
        assert {answer.status for answer in answers(transport, 2)} == {204}
        assert receiver.connections == 2


def test_terms_show_no_key(known: Folders) -> None:
    mine = terms(known)
    assert "PRIVATE" not in repr(mine)
    assert mine.key.splitlines()[1] not in repr(mine)


def test_through_a_proxy_the_certificate_is_shown_to_the_endpoint_alone(known: Folders) -> None:
    context = known.private.server(clients=known.clients)
    with (
        Receiver(tls=context) as receiver,
        ProxyServer() as server,
        sender(proxy=server.proxy(), tls=terms(known)) as t,
    ):
        asked = request(receiver.url)
        t.send(asked._replace(headers=[*asked.headers, b"Authorization: Bearer x"]))
        assert answers(t, 1)[0].status == 204
    assert "authorization" not in server.asked[0].headers
    assert receiver.requests[0].headers["authorization"] == "Bearer x"
