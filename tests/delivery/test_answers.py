import pycurl
import pytest

from syncsvc.delivery.answers import (
    Answer,
    Request,
    counts_for_circuit,
    verdict_on_answer,
    verdict_on_failure,
    verdict_on_status,
    verdict_on_timeout,
)
from syncsvc.types import ErrorKind

REQUEST = Request("id", "https://example.com:8443/hook?token=geheim", [], b"", 5, None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (202, None),
        (204, None),
        (299, None),
        (301, ErrorKind.ENDPOINT_REJECTED),
        (304, ErrorKind.ENDPOINT_REJECTED),
        (400, ErrorKind.ENDPOINT_REJECTED),
        (401, ErrorKind.ENDPOINT_REJECTED),
        (404, ErrorKind.ENDPOINT_REJECTED),
        (408, ErrorKind.ENDPOINT_TIMEOUT),
        (410, ErrorKind.ENDPOINT_GONE),
        (413, ErrorKind.ENDPOINT_REJECTED),
        (422, ErrorKind.ENDPOINT_REJECTED),
        (429, ErrorKind.ENDPOINT_THROTTLED),
        (500, ErrorKind.ENDPOINT_ERROR),
        (502, ErrorKind.ENDPOINT_ERROR),
        (503, ErrorKind.ENDPOINT_THROTTLED),
        (599, ErrorKind.ENDPOINT_ERROR),
        (101, ErrorKind.ENDPOINT_REJECTED),
    ],
)
def test_what_a_status_means(status: int, kind: ErrorKind | None) -> None:
    verdict = verdict_on_status(status)
    assert verdict.kind == kind
    assert (str(status) in verdict.error) is (kind is not None)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (101, ["URL"]),
        (301, ["not followed"]),
        (400, ["log"]),
        (401, ["secret", "clock", "5 minutes"]),
        (403, ["secret", "in front"]),
        (404, ["URL", "POST"]),
        (405, ["URL", "POST"]),
        (407, ["proxy"]),
        (408, ["in time"]),
        (410, ["no more webhooks"]),
        (413, ["CONTENT_CHUNK_BYTES"]),
        (415, ["application/json"]),
        (421, ["host name"]),
        (422, ["log"]),
        (429, ["fewer requests", "in-flight"]),
        (500, ["log"]),
        (502, ["proxy"]),
        (503, ["unavailable"]),
        (504, ["proxy"]),
        (520, ["log"]),
    ],
)
def test_a_status_is_called_what_it_is_and_says_what_to_do(status: int, words: list[str]) -> None:
    error = verdict_on_status(status).error
    assert all(word in error for word in words), error


def test_503_is_not_taken_for_a_limit() -> None:
    assert "fewer" not in verdict_on_status(503).error


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b"<html><h1>400 Bad Request</h1><center>No required SSL certificate was sent</center>", "client cert"),
        (403, b"403.7 - Forbidden: client certificate required", "client cert"),
        (400, b"<center>The plain HTTP request was sent to HTTPS port</center>", "https://"),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", "https://"),
        (400, b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />", "https://"),
    ],
)
def test_an_answer_that_says_more_than_its_status_is_read(status: int, body: bytes, words: str) -> None:
    verdict = verdict_on_answer(status, body)
    assert verdict.kind is ErrorKind.ENDPOINT_REJECTED
    assert f"answered {status}" in verdict.error
    assert words in verdict.error


@pytest.mark.parametrize("status", [200, 429, 500])
def test_an_answer_of_the_endpoints_own_is_not_searched(status: int) -> None:
    assert verdict_on_answer(status, b"nothing to tell")[:2] == verdict_on_status(status)


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (56, "OpenSSL SSL_read: OpenSSL/3.6.5: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0",
         "client certificate"),
        (35, "TLS connect error: error:0A000412:SSL routines::sslv3 alert bad certificate", "client certificate"),
        (35, "TLS connect error: error:0A000418:SSL routines::tlsv1 alert unknown ca", "client certificate"),
        (35, "TLS connect error: error:0A000410:SSL routines::ssl/tls alert handshake failure", "client certificate"),
        (35, "TLS connect error: error:0A000410:SSL routines::ssl/tls alert handshake failure", "cipher"),
        (35, "TLS connect error: error:0A00042E:SSL routines::tlsv1 alert protocol version", "needs 1.2"),
        (35, "TLS connect error: error:0A00010B:SSL routines::wrong version number", "scheme and port"),
        (60, "SSL certificate OpenSSL verify result: certificate has expired (10)", "Renew"),
        (60, "SSL certificate OpenSSL verify result: certificate is not yet valid (9)", "clock"),
        (60, "SSL certificate OpenSSL verify result: self-signed certificate (18)", "SSL_CERT_FILE"),
        (60, "SSL certificate OpenSSL verify result: unable to get local issuer certificate (20)", "chain"),
        (60, "SSL: no alternative certificate subject name matches target host name 'a.example'", "host name"),
        (77, "error adding trust anchors from file: /no/such/file", "certificate"),
    ],
)  # fmt: skip
def test_tls_that_failed_is_called_what_it_is(code: int, message: str, words: str) -> None:
    verdict = verdict_on_failure(code, message, REQUEST)
    assert verdict.kind is ErrorKind.ENDPOINT_TLS
    assert words in verdict.error
    assert "example.com:8443" in verdict.error
    assert "error:0A" not in verdict.error


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, ErrorKind.ENDPOINT_UNREACHABLE, "DNS"),
        (pycurl.E_COULDNT_CONNECT, ErrorKind.ENDPOINT_UNREACHABLE, "port"),
        (pycurl.E_RECV_ERROR, ErrorKind.ENDPOINT_UNREACHABLE, "log"),
        (pycurl.E_GOT_NOTHING, ErrorKind.ENDPOINT_UNREACHABLE, "log"),
        (pycurl.E_PEER_FAILED_VERIFICATION, ErrorKind.ENDPOINT_TLS, "certificate"),
        (pycurl.E_SSL_CONNECT_ERROR, ErrorKind.ENDPOINT_TLS, "certificate"),
        (pycurl.E_SEND_ERROR, ErrorKind.ENDPOINT_UNREACHABLE, "client certificate"),
        (pycurl.E_UNSUPPORTED_PROTOCOL, ErrorKind.ENDPOINT_ERROR, "scheme"),
        (pycurl.E_OUT_OF_MEMORY, ErrorKind.ENDPOINT_UNREACHABLE, "webhook URL"),
    ],
)
def test_what_a_failure_means(code: int, kind: ErrorKind, advice: str) -> None:
    verdict = verdict_on_failure(code, "curl's words\n.", REQUEST)
    assert verdict.kind is kind
    assert advice in verdict.error
    assert "example.com:8443" in verdict.error
    assert "geheim" not in verdict.error
    assert verdict.error.isprintable()


@pytest.mark.parametrize(("connected", "words"), [(True, "No whole answer"), (False, "No connection")])
def test_a_timeout_says_how_far_it_got(connected: bool, words: str) -> None:
    verdict = verdict_on_timeout(REQUEST, connected=connected)
    assert verdict.kind is ErrorKind.ENDPOINT_TIMEOUT
    assert verdict.error.startswith(words)


@pytest.mark.parametrize(
    ("status", "kind", "counts"),
    [
        (200, None, False),
        (None, ErrorKind.ENDPOINT_TIMEOUT, True),
        (408, ErrorKind.ENDPOINT_TIMEOUT, True),
        (None, ErrorKind.ENDPOINT_UNREACHABLE, True),
        (None, ErrorKind.ENDPOINT_TLS, True),
        (500, ErrorKind.ENDPOINT_ERROR, True),
        (503, ErrorKind.ENDPOINT_THROTTLED, True),
        (429, ErrorKind.ENDPOINT_THROTTLED, False),
        (422, ErrorKind.ENDPOINT_REJECTED, False),
        (410, ErrorKind.ENDPOINT_GONE, False),
        (None, ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS, False),
    ],
)
def test_what_counts_for_the_circuit(status: int | None, kind: ErrorKind | None, counts: bool) -> None:
    assert counts_for_circuit(Answer(REQUEST, status, kind, "", b"", 0.1, None)) is counts
