import pycurl
import pytest

from syncsvc.delivery.answers import (
    Answer,
    Request,
    counts_for_circuit,
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
    ("code", "kind", "advice"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, ErrorKind.ENDPOINT_UNREACHABLE, "DNS"),
        (pycurl.E_COULDNT_CONNECT, ErrorKind.ENDPOINT_UNREACHABLE, "port"),
        (pycurl.E_RECV_ERROR, ErrorKind.ENDPOINT_UNREACHABLE, "log"),
        (pycurl.E_GOT_NOTHING, ErrorKind.ENDPOINT_UNREACHABLE, "log"),
        (pycurl.E_PEER_FAILED_VERIFICATION, ErrorKind.ENDPOINT_TLS, "certificate"),
        (pycurl.E_SSL_CONNECT_ERROR, ErrorKind.ENDPOINT_TLS, "certificate"),
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
